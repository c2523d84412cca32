package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// DNS is a name whose addresses are the nodes.
type DNS struct {
	Name    string   `json:"name"`    // name to look up
	Port    int      `json:"port"`    // port of the nodes
	Refresh Duration `json:"refresh"` // time between look-ups
	TLS     bool     `json:"tls"`     // https instead of http
}

// File is a file that lists the nodes: {"servers": [{"address": "host:port", "tls":
// false}]}.
type File struct {
	Path    string   `json:"path"`    // path of the file
	Refresh Duration `json:"refresh"` // time between reads
}

// maxServers bounds what a source may answer.
const maxServers = 1000

// checkSource reports whether the nodes are named in exactly one way.
func (c *Config) checkSource() error {
	given := 0
	for _, is := range []bool{len(c.Endpoints) > 0, c.DNS.Name != "", c.File.Path != ""} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return sdk.ConfigErrorf("endpoints", "endpoints is empty: at least one node must be named, or dns or file")
	case given > 1:
		return sdk.ConfigErrorf("endpoints", "endpoints, dns and file are each a way to name the nodes: one of them is enough")
	case c.DNS.Name != "" && (c.DNS.Port < 1 || c.DNS.Port > 65535):
		return sdk.ConfigErrorf("dns.port", "dns.port is %d, it must be from 1 to 65535", c.DNS.Port)
	}
	return nil
}

// secure reports whether nodes may be behind TLS.
func (c *Config) secure() bool {
	return c.DNS.Name != "" && c.DNS.TLS || c.File.Path != "" || slices.ContainsFunc(c.Endpoints, func(e string) bool {
		a, err := parseEndpoint(e)
		return err == nil && a.secure
	})
}

// source is where the nodes are looked up again and again.
type source struct {
	every time.Duration // 0 means never
	look  func(context.Context) ([]string, error)
}

func (c *Config) source(t times) source {
	switch {
	case c.DNS.Name != "":
		return source{t.dns, c.DNS.look}
	case c.File.Path != "":
		return source{t.file, c.File.look}
	}
	return source{0, func(context.Context) ([]string, error) { return c.Endpoints, nil }}
}

func (d DNS) look(ctx context.Context) ([]string, error) {
	addresses, err := net.DefaultResolver.LookupHost(ctx, d.Name)
	if err != nil {
		return nil, &storage.Error{Code: storage.Unavailable, Layer: layer, ConfigPath: "dns.name", Err: err, Msg: "the name of the nodes cannot be looked up"}
	}
	scheme := "http://"
	if d.TLS {
		scheme = "https://"
	}
	var endpoints []string
	for _, a := range addresses {
		endpoints = append(endpoints, scheme+net.JoinHostPort(a, strconv.Itoa(d.Port)))
	}
	return endpoints, nil
}

func (f File) look(context.Context) ([]string, error) {
	bad := func(format string, args ...any) error {
		return sdk.ConfigErrorf("file.path", "the list of nodes: "+format, args...)
	}
	raw, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, bad("%v", err)
	}
	var list struct {
		Servers []struct {
			Address string `json:"address"`
			TLS     bool   `json:"tls"`
		} `json:"servers"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, bad("it is not JSON as it should be")
	}
	var endpoints []string
	for i, s := range list.Servers {
		endpoint := "http://" + s.Address
		if s.TLS {
			endpoint = "https://" + s.Address
		}
		if _, err := parseEndpoint(endpoint); err != nil {
			return nil, bad("server %d: %v", i+1, err)
		}
		endpoints = append(endpoints, endpoint)
	}
	return endpoints, nil
}

// nodes looks the nodes up.
func (s source) nodes(ctx context.Context) ([]string, error) {
	endpoints, err := s.look(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(endpoints) == 0 || len(endpoints) > maxServers:
		return nil, storage.Errorf(storage.InvalidArgument, "the list of nodes has %d of them, it must have 1 to %d", len(endpoints), maxServers)
	}
	return endpoints, nil
}

// refresh looks up the nodes until the backend is closed.
func (b *Backend) refresh() {
	ticker := time.NewTicker(b.source.every)
	defer ticker.Stop()
	for {
		select {
		case <-b.life.Done():
			return
		case <-ticker.C:
			b.lookAgain()
		}
	}
}

// lookAgain looks the nodes up. Those that were known stay where it fails.
func (b *Backend) lookAgain() {
	ctx, cancel := context.WithTimeout(b.life, b.times.connect)
	defer cancel()
	endpoints, err := b.source.nodes(ctx)
	if err == nil {
		err = b.pool.set(endpoints)
	}
	if err != nil && b.life.Err() == nil {
		b.log.Warn("the nodes cannot be looked up: those that were known stay", "error", fmt.Sprint(err))
	}
}
