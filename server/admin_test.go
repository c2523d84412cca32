package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// Who may administer: callers on the same machine that have the token of the data, if there
// is one, and from anywhere whoever has the token for it.
func TestAdmin(t *testing.T) {
	admin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "done") })
	const near, far = "127.0.0.1:5000", "192.0.2.1:5000"
	for _, c := range []struct {
		name, token, admin, from, authorization string
		header                                  http.Header
		want                                    int
	}{
		{"near", "", "", near, "", nil, 200},
		{"near, by IPv6", "", "", "[::1]:5000", "", nil, 200},
		{"near, mapped", "", "", "[::ffff:127.0.0.1]:5000", "", nil, 200},
		{"far", "", "", far, "", nil, 403},
		{"far, with the token of the data", "t", "", far, "Bearer t", nil, 403},
		{"near, without the token of the data", "t", "", near, "", nil, 401},
		{"near, with the token of the data", "t", "", near, "Bearer t", nil, 200},
		{"far, with its token", "t", "a", far, "Bearer a", nil, 200},
		{"far, with its token, without one of the data", "", "a", far, "Bearer a", nil, 200},
		{"far, with a wrong token", "t", "a", far, "Bearer x", nil, 401},
		{"near, with a wrong token, without one of the data", "", "a", near, "Bearer x", nil, 401},
		{"far, without a token", "", "a", far, "", nil, 403},
		{"far, with an empty token", "", "", far, "Bearer ", nil, 403},
		{"by a proxy that is near", "", "", near, "", http.Header{"X-Forwarded-For": {"192.0.2.1"}}, 403},
		{"by another that is near", "", "", near, "", http.Header{"Forwarded": {"for=192.0.2.1"}}, 403},
		{"by a page", "", "", near, "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"by a page with an origin", "", "", near, "", http.Header{"Origin": {"https://example.org"}}, 403},
	} {
		var config server.Config
		config.Token, config.AdminToken, config.Hosts = secret.Copy(c.token), secret.Copy(c.admin), []string{"kv.example.org"}
		srv, err := server.New(config, server.Settings{Log: slog.New(slog.DiscardHandler), Admin: admin})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "http://kv.example.org/v1/admin/reload", nil)
		r.RemoteAddr = c.from
		for name, values := range c.header {
			r.Header[name] = values
		}
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, r)
		if w.Code != c.want || (w.Body.String() == "done") != (c.want == 200) {
			t.Errorf("%s: %d %s, want %d", c.name, w.Code, w.Body, c.want)
		}
	}
}

// A caller on a unix socket is near, and without Settings.Admin there is nothing.
func TestAdminOnASocket(t *testing.T) {
	for _, admin := range []http.Handler{nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "done") })} {
		path := filepath.Join(t.TempDir(), "s")
		srv, err := server.New(server.Config{Listener: server.Listener{Address: "unix:" + path}}, server.Settings{Log: slog.New(slog.DiscardHandler), Admin: admin})
		if err != nil {
			t.Fatal(err)
		}
		l, err := srv.Listen()
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(ctx, l) }()
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}}
		res, err := c.Get("http://localhost/v1/admin/status")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if (string(body) == "done") != (admin != nil) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// The list of stores is for those who may read them.
func TestStores(t *testing.T) {
	store := storage.New(memory.New(memory.DefaultConfig(), sdk.Env{}), storage.Settings{})
	defer store.Close(t.Context())
	var config server.Config
	config.Token = secret.Copy("t")
	srv, err := server.New(config, server.Settings{Log: slog.New(slog.DiscardHandler), Stores: map[string]*storage.Store{"b": store, "a": store}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, token string) (int, string) {
		r := httptest.NewRequest(method, "http://localhost"+path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	code, body := ask(http.MethodGet, "/v1/stores", "t")
	if code != 200 || !strings.HasPrefix(body, `{"stores":[{"name":"a","backend":"memory","capabilities":["versions",`) || !strings.Contains(body, `{"name":"b",`) {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := ask(http.MethodGet, "/v1/stores", "x"); code != 401 {
		t.Errorf("with a wrong token: %d", code)
	}
	if code, _ := ask(http.MethodGet, "/v1/stores?x=1", "t"); code != 400 {
		t.Errorf("with a parameter: %d", code)
	}
	if code, _ := ask(http.MethodPost, "/v1/stores", "t"); code != 405 {
		t.Errorf("POST: %d", code)
	}
}

// What changes while a server runs is in force for the next request.
func TestUpdate(t *testing.T) {
	config := server.Config{Hosts: []string{"one.example.org"}}
	srv, err := server.New(config, server.Settings{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(host, token string) int {
		r := httptest.NewRequest(http.MethodGet, "http://"+host+"/v1/stores/x/keys/k", nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, r)
		return w.Code
	}
	if got := ask("one.example.org", ""); got != 404 {
		t.Errorf("at first: %d", got)
	}
	config.Hosts, config.Token = []string{"two.example.org"}, secret.Copy("t")
	srv.Update(config, nil)
	for _, c := range []struct {
		host, token string
		want        int
	}{{"one.example.org", "t", 403}, {"two.example.org", "", 401}, {"two.example.org", "t", 404}} {
		if got := ask(c.host, c.token); got != c.want {
			t.Errorf("%s with %q: %d, want %d", c.host, c.token, got, c.want)
		}
	}
}
