package setup

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/plinthkv/plinth/config"
)

// checkEndpoints reports endpoints of exporters that the SDK would take for others, or of
// which it would drop a part.
func checkEndpoints(section *config.Node, root map[string]any) error {
	var errs []error
	var walk func(v any, path string)
	walk = func(v any, path string) {
		switch v := v.(type) {
		case []any:
			for i, item := range v {
				walk(item, fmt.Sprintf("%s[%d]", path, i))
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				at := strings.TrimPrefix(path+"."+key, ".")
				exporter, _ := v[key].(map[string]any)
				if endpoint, ok := exporter["endpoint"].(string); ok && (key == "otlp_http" || key == "otlp_grpc") {
					if wrong := endpointError(endpoint, key == "otlp_grpc"); wrong != "" {
						errs = append(errs, section.Errorf(at+".endpoint", "%s", wrong))
					}
				}
				walk(v[key], at)
			}
		}
	}
	walk(root, "")
	return config.Join(errs...)
}

// endpointError returns what is wrong with an endpoint, or "". gRPC's may be host:port.
func endpointError(endpoint string, grpc bool) string {
	if grpc && !strings.Contains(endpoint, "://") {
		host, port, err := net.SplitHostPort(endpoint)
		switch {
		case err != nil || host == "" || strings.ContainsAny(endpoint, "/?#@ "):
			return "is neither a URL nor host:port"
		case !validPort(port):
			return "must have a port from 1 to 65535"
		}
		return ""
	}
	return urlError(endpoint, grpc)
}

// urlError returns what is wrong with the URL of an endpoint, or "".
func urlError(endpoint string, grpc bool) string {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return "is not a URL"
	case u.Scheme != "http" && u.Scheme != "https":
		return "must begin with http:// or https://"
	case u.Hostname() == "":
		return "names no host"
	case u.User != nil:
		return "has a user or a password, which are not sent: put them into headers"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "has a query or a fragment, which are not sent"
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && !validPort(u.Port()):
		return "must have a port from 1 to 65535, or none for the default"
	case grpc && u.Path != "" && u.Path != "/":
		return "has a path, which gRPC does not send"
	}
	return ""
}

func validPort(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 1 && n <= 65535 && strconv.Itoa(n) == text
}
