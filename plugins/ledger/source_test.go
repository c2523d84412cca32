package ledger_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// list writes the file of nodes.
func list(t *testing.T, path string, endpoints ...string) {
	t.Helper()
	servers := []map[string]any{}
	for _, e := range endpoints {
		servers = append(servers, map[string]any{"address": strings.TrimPrefix(e, "http://"), "tls": false})
	}
	raw, err := json.Marshal(map[string]any{"servers": servers})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The nodes are those of a file, also when it has changed.
func TestNodesOfAFile(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	path := filepath.Join(t.TempDir(), "nodes.json")
	list(t, path, c.Endpoints()[:2]...)
	b := open(t, c, func(c *ledger.Config) { c.Endpoints, c.File.Path = nil, path })
	nodes := func() int {
		t.Helper()
		h, err := b.Health(t.Context(), storage.Readiness)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for k := range h.Details {
			if strings.HasPrefix(k, "node ") {
				n++
			}
		}
		return n
	}
	apply(t, b, storage.Put(bs("k"), bs("v")))
	if n := nodes(); n != 2 {
		t.Errorf("%d nodes are known", n)
	}
	c.Lead(2)
	list(t, path, c.Endpoints()[2])
	b.LookAgain()
	if n := nodes(); n != 1 {
		t.Errorf("%d nodes are known", n)
	}
	apply(t, b, storage.Put(bs("k"), bs("w")))
	for _, broken := range []string{"", "{", `{"servers": []}`, `{"servers": [{"address": "a b"}]}`} { // what was known stays
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		b.LookAgain()
		wantValue(t, b, "k", "w")
	}
	list(t, path, c.Endpoints()...)
	b.LookAgain()
	if n := nodes(); n != 3 {
		t.Errorf("%d nodes are known", n)
	}
}

func TestNodesOfAName(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	_, port, err := net.SplitHostPort(strings.TrimPrefix(c.Endpoints()[0], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, c, func(c *ledger.Config) { c.Endpoints, c.DNS.Name, c.DNS.Port = nil, "127.0.0.1", n })
	apply(t, b, storage.Put(bs("k"), bs("v")))
	wantValue(t, b, "k", "v")
}

func TestBadSources(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.json")
	for name, bad := range map[string]struct {
		change     func(*ledger.Config)
		code       storage.Code
		path, says string
	}{
		"two ways":      {func(c *ledger.Config) { c.DNS.Name = "x" }, storage.InvalidArgument, "endpoints", "one of them"},
		"no port":       {func(c *ledger.Config) { c.Endpoints, c.DNS.Name, c.DNS.Port = nil, "x", 0 }, storage.InvalidArgument, "dns.port", "65535"},
		"no time":       {func(c *ledger.Config) { c.Endpoints, c.DNS.Name, c.DNS.Refresh = nil, "x", "0s" }, storage.InvalidArgument, "dns.refresh", "more than 0"},
		"no such file":  {func(c *ledger.Config) { c.Endpoints, c.File.Path = nil, missing }, storage.InvalidArgument, "file.path", "no such file"},
		"no such name":  {func(c *ledger.Config) { c.Endpoints, c.DNS.Name = nil, "name.invalid" }, storage.Unavailable, "dns.name", "looked up"},
		"tls, and none": {func(c *ledger.Config) { c.Endpoints, c.DNS.Name, c.TLS.CA = nil, "x", missing }, storage.InvalidArgument, "tls", "https"},
	} {
		config := ledger.DefaultConfig()
		config.Endpoints, config.Organization, config.Vault = []string{"http://127.0.0.1:1"}, 1, 1
		bad.change(&config)
		b, err := ledger.New(t.Context(), config, sdk.Env{})
		if err == nil {
			b.Close(context.Background())
		}
		if e := storage.AsError(err); e == nil || e.Code != bad.code || e.ConfigPath != bad.path || !strings.Contains(e.Error(), bad.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
