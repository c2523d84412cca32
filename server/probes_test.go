package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// page is a page of metrics, which may take its time.
type page struct{ enter, gate chan struct{} }

func (p page) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if p.enter != nil {
		p.enter <- struct{}{}
		<-p.gate
	}
	fmt.Fprintln(w, "metric 1")
}

// serveProbes starts a server of probes alone.
func serveProbes(t *testing.T, metrics http.Handler, edit func(*server.Config)) (addr string) {
	t.Helper()
	c := server.Config{Listener: server.Listener{Address: "0.0.0.0:0"}} // beyond loopback, in the clear
	if edit != nil {
		edit(&c)
	}
	sick := &sickBackend{health: storage.Health{Status: storage.Unhealthy, Reason: "no disk"}}
	srv := server.NewProbes(c, server.Settings{Stores: map[string]*storage.Store{"sick": storage.New(sick, storage.Settings{})},
		Metrics: metrics, Log: slog.New(slog.DiscardHandler)})
	l, err := srv.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "127.0.0.1:" + port
}

// A listener for probes answers to them and to /metrics, whoever asks, and to nothing else:
// without names, reasons or a token.
func TestProbesAlone(t *testing.T) {
	addr := serveProbes(t, page{}, func(c *server.Config) { c.Token, c.Hosts = secret.Copy("secret"), []string{"kv.example.org"} })
	for _, c := range []struct {
		request, host, site string
		status              int
		body                string
	}{
		{"GET /livez", addr, "", 200, `{"status":"healthy"}`},
		{"GET /readyz", addr, "", 503, `{"status":"unhealthy"}`},
		{"GET /startupz", "anything.example", "", 503, `{"status":"unhealthy"}`},
		{"HEAD /livez", addr, "", 200, ""},
		{"POST /livez", addr, "", 405, "method not allowed: probes support GET, HEAD"},
		{"GET /metrics", addr, "", 200, "metric 1"},
		{"GET /metrics", "kv.example.org", "", 200, "metric 1"},
		{"GET /metrics", "evil.example", "", 403, "add it to server.hosts"},
		{"GET /metrics", addr, "cross-site", 403, "cross-origin"},
		{"GET /v1/stores/sick/keys/k", addr, "", 404, "probes and metrics only"},
		{"GET /v1/admin/status", addr, "", 404, "probes and metrics only"},
		{"GET /", addr, "", 404, "probes and metrics only"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		r, err := http.NewRequest(method, "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.status || !strings.Contains(string(body), c.body) || strings.Contains(string(body), "no disk") {
			t.Errorf("%s with the Host %q: %d %s, want %d %s", c.request, c.host, res.StatusCode, body, c.status, c.body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// Those who ask for pages that take long hold up no probe of liveness, and are bounded.
func TestProbesAtOnce(t *testing.T) {
	p := page{make(chan struct{}), make(chan struct{})}
	addr := serveProbes(t, p, nil)
	ask := func(path string) int {
		res, err := http.Get("http://" + addr + path)
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	defer http.DefaultClient.CloseIdleConnections()
	const most = 64
	all := make(chan int, most)
	for range most {
		go func() { all <- ask("/metrics") }()
		<-p.enter
	}
	if got := ask("/metrics"); got != http.StatusServiceUnavailable {
		t.Errorf("one more than %d is answered %d", most, got)
	}
	if got := ask("/livez"); got != http.StatusOK {
		t.Errorf("liveness is answered %d", got)
	}
	close(p.gate)
	for range most {
		if got := <-all; got != http.StatusOK {
			t.Errorf("a page is answered %d", got)
		}
	}
}

// A caller who sends no end of a request is cut off.
func TestProbesSlowCaller(t *testing.T) {
	addr := serveProbes(t, nil, func(c *server.Config) { c.HeaderTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
}
