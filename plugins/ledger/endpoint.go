package ledger

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plinthkv/plinth/sdk"
)

// address is where a node is.
type address struct {
	name    string // as it was given, for messages
	network string // "tcp", "unix"
	dial    string // host:port, or a path
	host    string // for TLS and as the authority
	secure  bool
}

// parseEndpoint reads an endpoint. What is wrong is said without repeating it: it
// might hold a password.
func parseEndpoint(s string) (address, error) {
	if strings.ContainsAny(s, " \t\r\n") {
		return address{}, errors.New("the endpoint holds white space")
	}
	if strings.HasPrefix(s, "/") {
		return address{name: s, network: "unix", dial: s, host: "localhost"}, nil
	}
	if !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
		return address{}, errors.New("the endpoint begins neither with http:// nor https:// nor, as the path of a unix socket, with /")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return address{}, errors.New("the endpoint is not a URL")
	case u.User != nil:
		return address{}, errors.New("the endpoint holds a user or a password, which Ledger has no use for")
	case u.Hostname() == "":
		return address{}, errors.New("the endpoint names no host")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return address{}, errors.New("the endpoint has something after its port")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return address{name: u.Scheme + "://" + u.Host, network: "tcp", dial: net.JoinHostPort(u.Hostname(), port), host: u.Host, secure: u.Scheme == "https"}, nil
}

// transport is how connections to secure endpoints are made; nil where none is.
func (c *Config) transport() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CA != "" {
		pem, err := os.ReadFile(c.TLS.CA)
		if err != nil {
			return nil, sdk.ConfigErrorf("tls.ca", "%v", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, sdk.ConfigErrorf("tls.ca", "the file holds no certificate")
		}
	}
	if c.TLS.Cert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return nil, sdk.ConfigErrorf("tls.cert", "the certificate and its key cannot be read: %v", unquoted(err))
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}

// unquoted is err without what a file holds: parsers may quote that.
func unquoted(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path
	}
	return fmt.Errorf("they are no pair of PEM files")
}

func (a address) credentials(t *tls.Config) credentials.TransportCredentials {
	if !a.secure {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(t)
}
