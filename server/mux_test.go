package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// mux is an application's own server, with the stores below /kv.
func mux(t *testing.T, c server.Config) *httptest.Server {
	store := storage.New(memory.New(memory.DefaultConfig(), sdk.Env{}), storage.Settings{})
	srv, err := server.New(c, server.Settings{Stores: map[string]*storage.Store{"links": store}})
	if err != nil {
		t.Fatal(err)
	}
	if l, err := srv.Listen(); err == nil || !strings.Contains(err.Error(), "no address") {
		t.Errorf("it listens on %v, %v", l, err)
	}
	m := http.NewServeMux()
	m.Handle("/kv/", http.StripPrefix("/kv", srv.Handler()))
	web := httptest.NewServer(m)
	t.Cleanup(web.Close)
	return web
}

func TestHandlerInAMux(t *testing.T) {
	web := mux(t, server.Config{})
	ask := func(method, path, host, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, web.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		a, err := web.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(b)
	}
	const key = "/kv/v1/stores/links/keys/a%2F%2Fb"
	if status, body := ask("PUT", key, "links.example.org", "value"); status != http.StatusCreated && status != http.StatusNoContent && status != http.StatusOK {
		t.Fatalf("put: %d %s", status, body)
	}
	if status, body := ask("GET", key, "links.example.org", ""); status != 200 || body != "value" {
		t.Errorf("get: %d %s", status, body)
	}
	if status, body := ask("GET", "/kv/readyz", "links.example.org", ""); status != 200 || !strings.Contains(body, "links") {
		t.Errorf("ready: %d %s", status, body)
	}
}

// Hosts are checked in a mux too, where they are named.
func TestHostsInAMux(t *testing.T) {
	web := mux(t, server.Config{Hosts: []string{"links.example.org"}})
	for host, want := range map[string]int{"links.example.org": 404, "localhost": 404, "evil.example.org": http.StatusForbidden} {
		r, err := http.NewRequest("GET", web.URL+"/kv/v1/stores/links/keys/none", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		a, err := web.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode != want {
			t.Errorf("%s: %d, want %d", host, a.StatusCode, want)
		}
	}
}
