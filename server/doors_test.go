package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

func TestHosts(t *testing.T) {
	s := serve(t, func(c *server.Config, _ *server.Settings) { c.Hosts = []string{"KV.example.org"} })
	s.fill("k")
	for host, status := range map[string]int{
		"localhost": 200, "LOCALHOST:1": 200, "127.0.0.1": 200, "127.0.0.1:7421": 200, "[::1]:7421": 200, "[::1]": 200,
		"kv.example.org": 200, "kv.example.org:80": 200,
		"evil.example": 403, "localhost.evil.example": 403, "192.168.1.1": 403, "": 403,
	} {
		if a := s.raw("GET "+base+"/keys/k\nHost: "+host, ""); a.status != status {
			t.Errorf("Host %q: %d, want %d", host, a.status, status)
		}
		if a := s.raw("GET /readyz\nHost: "+host, ""); host != "" && (a.status != 200 || strings.Contains(a.body, `"stores"`) != (status == 200)) {
			t.Errorf("a probe with the Host %q: %d %s", host, a.status, a.body)
		}
	}
}

// A Host that is the address which the connection came to is right: probes and neighbours
// know no other name.
func TestHostOfTheConnection(t *testing.T) {
	b := memory.New(memory.DefaultConfig(), sdk.Env{})
	s, err := server.New(server.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, server.Settings{Stores: map[string]*storage.Store{"s": storage.New(b, storage.Settings{})}})
	if err != nil {
		t.Fatal(err)
	}
	for local, status := range map[string]int{"10.1.2.3": 404, "10.1.2.4": 403, "2001:db8::1": 403} {
		r := httptest.NewRequest("GET", base+"/keys/none", nil)
		r.Host = "10.1.2.3:7421"
		ctx := context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(local), Port: 7421})
		w := httptest.NewRecorder()
		if s.Handler().ServeHTTP(w, r.WithContext(ctx)); w.Code != status {
			t.Errorf("at %s: %d, want %d", local, w.Code, status)
		}
	}
}

func TestOrigins(t *testing.T) {
	s := serve(t, nil)
	for header, status := range map[string]int{
		"": 204, "Sec-Fetch-Site: same-origin": 204, "Sec-Fetch-Site: none": 204,
		"Sec-Fetch-Site: cross-site": 403, "Sec-Fetch-Site: same-site": 403,
		"Origin: https://evil.example": 403, "Origin: null": 403,
	} {
		a := s.raw("PUT "+base+"/keys/k\n"+header, "v")
		if a.status != status || status == 403 && a.code() != "permission_denied" {
			t.Errorf("%s: %d %s, want %d", header, a.status, a.body, status)
		}
	}
	s.must(s.raw("GET "+base+"/keys/k\nSec-Fetch-Site: cross-site", ""), 403)
	if a := s.raw("OPTIONS "+base+"/keys/k\nOrigin: https://evil.example\nAccess-Control-Request-Method: PUT", ""); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("a preflight was allowed")
	}
}

func TestToken(t *testing.T) {
	s := serve(t, func(c *server.Config, _ *server.Settings) { c.Token = secret.Copy("secret") })
	s.fill("k")
	for header, status := range map[string]int{"": 401, "Authorization: Bearer wrong": 401, "Authorization: Basic secret": 401,
		"Authorization: Bearer secret": 200} {
		a := s.raw("GET "+base+"/keys/k\n"+header, "")
		if a.status != status || status == 401 && (a.code() != "unauthenticated" || a.header.Get("WWW-Authenticate") != "Bearer") {
			t.Errorf("%q: %d %s", header, a.status, a.body)
		}
	}
	s.must(s.raw("GET /livez", ""), 200)
}

// Beyond loopback nobody is served without TLS and a proof of who they are.
func TestListenerBeyondLoopback(t *testing.T) {
	cert, key := selfSigned(t)
	for _, c := range []struct {
		config server.Config
		fails  string
	}{
		{server.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, ""},
		{server.Config{Listener: server.Listener{Address: "[::1]:0"}}, ""},
		{server.Config{Listener: server.Listener{Address: "localhost:0"}}, ""},
		{server.Config{Listener: server.Listener{Address: "unix:/tmp/x.sock"}}, ""},
		{server.Config{Listener: server.Listener{Address: "0.0.0.0:0"}}, "beyond loopback"},
		{server.Config{Listener: server.Listener{Address: ":7421"}}, "beyond loopback"},
		{server.Config{Listener: server.Listener{Address: "kv.example.org:7421"}}, "beyond loopback"},
		{server.Config{Listener: server.Listener{Address: "0.0.0.0:0", Token: secret.Copy("t")}}, "beyond loopback"},
		{server.Config{Listener: server.Listener{Address: "0.0.0.0:0", Cert: cert, Key: key}}, "beyond loopback"},
		{server.Config{Listener: server.Listener{Address: "0.0.0.0:0", Cert: cert, Key: key, Token: secret.Copy("t")}}, ""},
		{server.Config{Listener: server.Listener{Address: "0.0.0.0:0", Cert: cert, Key: key, ClientCA: cert}}, ""},
		{server.Config{Listener: server.Listener{Address: "0.0.0.0:0", Cert: cert, Token: secret.Copy("t")}}, "both a certificate and its key"},
		{server.Config{Listener: server.Listener{Address: "127.0.0.1:0", ClientCA: cert}}, "require TLS"},
		{server.Config{}, ""},
		{server.Config{Listener: server.Listener{Token: secret.Copy("t")}}, ""},
		{server.Config{Listener: server.Listener{Cert: cert, Key: key}}, "certificates require an address"},
		{server.Config{Listener: server.Listener{Address: "nonsense"}}, "neither host:port nor unix:/path"},
		{server.Config{Listener: server.Listener{Address: "127.0.0.1:0", Cert: "/none", Key: "/none"}}, "no such file"},
	} {
		_, err := server.New(c.config, server.Settings{})
		if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.fails)
		}
	}
}

func TestTLS(t *testing.T) {
	cert, key := selfSigned(t)
	s := serve(t, func(c *server.Config, _ *server.Settings) { c.Cert, c.Key = cert, key })
	pool := x509.NewCertPool()
	file, _ := os.ReadFile(cert)
	pool.AppendCertsFromPEM(file)
	conn, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	b := make([]byte, 12)
	if _, err := conn.Read(b); err != nil || string(b) != "HTTP/1.1 200" {
		t.Errorf("%q, %v", b, err)
	}
}

func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// A unix socket is this user's alone; one that was left behind is replaced, one
// that is served is not, and what is no socket stays.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.sock")
	listen := func() (net.Listener, error) {
		srv, err := server.New(server.Config{Listener: server.Listener{Address: "unix:" + path}}, server.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		return srv.Listen()
	}
	l, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := listen(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second server on the socket: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if l, err = listen(); err != nil {
		t.Fatalf("a socket that was left behind: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("over a file: %v", err)
	}
	s := serve(t, func(c *server.Config, _ *server.Settings) { c.Address = "unix:" + path + "2" })
	s.fill("k")
	s.must(s.get("/keys/k"), 200)
}

func TestTwoServersOnOnePort(t *testing.T) {
	s := serve(t, nil)
	srv, err := server.New(server.Config{Listener: server.Listener{Address: s.addr}}, server.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Listen(); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), s.addr) {
		t.Errorf("%v", err)
	}
}

func TestHeaderTooLarge(t *testing.T) {
	s := serve(t, nil)
	if a := s.raw("GET "+base+"/keys/k\nX: "+strings.Repeat("x", 32<<10), ""); a.status != 431 {
		t.Errorf("%d", a.status)
	}
}

// What is over the number of requests at once is told so at once, and that
// nothing was done.
func TestConcurrency(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 2)
	s := serve(t, func(c *server.Config, set *server.Settings) {
		c.MaxConcurrent = 2
		set.Stores["s"] = storage.New(&gated{Backend: set.Stores["s"].Backend(), gate: gate, entered: entered}, storage.Settings{})
	})
	s.fill("k")
	running := make(chan answer, 2)
	for range 2 {
		go func() { running <- s.get("/keys/k") }()
	}
	<-entered
	<-entered
	a := s.must(s.raw("PUT "+base+"/keys/k", "v"), 503)
	if a.code() != "unavailable" || a.header.Get("Retry-After") != "1" {
		t.Errorf("%s %v", a.body, a.header)
	}
	s.has("k", "v-k")
	s.must(s.raw("GET /livez", ""), 200)
	close(gate)
	for range 2 {
		s.must(<-running, 200)
	}
}

// gated answers Get when the gate is open, or the caller has gone.
type gated struct {
	storage.Backend
	gate    chan struct{}
	entered chan struct{} // gets one for each Get that has arrived, if not nil
	left    chan error    // gets why a Get ended early, if not nil
}

func (g *gated) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if g.entered != nil {
		g.entered <- struct{}{}
	}
	select {
	case <-g.gate:
	case <-ctx.Done():
		if g.left != nil {
			g.left <- ctx.Err()
		}
		return storage.Item{}, storage.ContextError(ctx)
	}
	return g.Backend.Get(ctx, key)
}

// The end of serving lets a request finish, and readiness says so meanwhile.
func TestGracefulShutdown(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		set.Stores["s"] = storage.New(&gated{Backend: set.Stores["s"].Backend(), gate: gate, entered: entered}, storage.Settings{})
	})
	s.fill("k")
	running := make(chan answer, 1)
	go func() { running <- s.get("/keys/k") }()
	<-entered
	s.stop()
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("a draining server takes connections")
		}
	}
	close(gate)
	if a := <-running; a.status != 200 || a.body != "v-k" {
		t.Errorf("the request in flight: %d %s", a.status, a.body)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	s.ended <- nil
}

// A request that does not finish in time is cut off, and the end says so.
func TestShutdownTimeout(t *testing.T) {
	entered := make(chan struct{}, 1)
	s := serve(t, func(c *server.Config, set *server.Settings) {
		c.ShutdownTimeout = 100 * time.Millisecond
		set.Stores["s"] = storage.New(&gated{Backend: set.Stores["s"].Backend(), gate: make(chan struct{}), entered: entered}, storage.Settings{})
	})
	running := make(chan answer, 1)
	go func() { running <- s.get("/keys/k") }()
	<-entered
	s.stop()
	if err := <-s.ended; err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Error(err)
	}
	s.ended <- nil
	if a := <-running; !a.cut {
		t.Errorf("%+v", a)
	}
}

// A connection over which nothing was asked yet holds up nobody's end.
func TestShutdownAmidSilence(t *testing.T) {
	s := serve(t, nil)
	s.fill("k")
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.must(s.get("/keys/k"), 200) // accepted after the other
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	s.ended <- nil
}

// A caller that hangs up ends its call.
func TestHangUp(t *testing.T) {
	entered, left := make(chan struct{}, 1), make(chan error, 1)
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		set.Stores["s"] = storage.New(&gated{Backend: set.Stores["s"].Backend(), gate: make(chan struct{}), entered: entered, left: left}, storage.Settings{})
	})
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s/keys/k HTTP/1.1\r\nHost: localhost\r\n\r\n", base)
	<-entered
	conn.Close()
	select {
	case err := <-left:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the call goes on for nobody")
	}
}

func TestProbes(t *testing.T) {
	sick := &sickBackend{}
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		sick.Backend = set.Stores["s"].Backend()
		set.Stores["sick"] = storage.New(sick, storage.Settings{})
	})
	for _, c := range []struct {
		health  storage.Health
		err     error
		hangs   bool
		ready   int
		mention string
	}{
		{health: storage.Health{Status: storage.Healthy}, ready: 200, mention: `"sick":{"status":"healthy"`},
		{health: storage.Health{Status: storage.Degraded, Reason: "slow disk"}, ready: 200, mention: "slow disk"},
		{health: storage.Health{Status: storage.Unhealthy, Reason: "no disk"}, ready: 503, mention: "no disk"},
		{err: storage.ErrUnavailable, ready: 503, mention: "backend unavailable"},
		{hangs: true, ready: 503, mention: "no answer"},
	} {
		sick.set(c.health, c.err, c.hangs)
		for _, path := range []string{"/readyz", "/startupz"} {
			if a := s.raw("GET "+path, ""); a.status != c.ready || !strings.Contains(a.body, c.mention) {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		s.must(s.raw("GET /livez", ""), 200)
	}
	s.must(s.raw("POST /livez", ""), 405)
}

type sickBackend struct {
	storage.Backend
	health storage.Health
	err    error
	hangs  bool
}

func (b *sickBackend) set(h storage.Health, err error, hangs bool) {
	b.health, b.err, b.hangs = h, err, hangs
}

func (b *sickBackend) Health(ctx context.Context, _ storage.Probe) (storage.Health, error) {
	if b.hangs {
		<-ctx.Done()
		time.Sleep(20 * time.Millisecond) // later than the server's patience
	}
	return b.health, b.err
}

// Each code has a status, and one that proxies repeat never hides a write that
// may have been applied.
func TestStatuses(t *testing.T) {
	fails := &failingApply{}
	s := serve(t, func(_ *server.Config, set *server.Settings) {
		fails.Backend = set.Stores["s"].Backend()
		set.Stores["s"] = storage.New(fails, storage.Settings{})
	})
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{storage.ErrUnavailable, 503, "unavailable"},
		{&storage.Error{Code: storage.Unavailable, Unknown: true}, 500, "outcome_unknown"},
		{&storage.Error{Code: storage.Timeout, Unknown: true}, 500, "outcome_unknown"},
		{storage.ErrTimeout, 504, "timeout"},
		{storage.ErrOutcomeUnknown, 500, "outcome_unknown"},
		{storage.ErrInternal, 500, "internal"},
		{errors.New("something"), 500, "internal"},
		{storage.ErrSerialization, 500, "serialization"},
		{storage.ErrCircuitOpen, 503, "circuit_open"},
		{storage.ErrShuttingDown, 503, "shutting_down"},
		{&storage.Error{Code: storage.RateLimited, RetryAfter: 1500 * time.Millisecond}, 429, "rate_limited"},
		{storage.LimitError(storage.SizeLimit, "value", 1, 2), 413, "size_limit"},
		{storage.LimitError(storage.RangeLimit, "rows", 1, 2), 413, "range_limit"},
		{storage.ErrNoSpace, 507, "no_space"},
		{storage.ErrUnsupported, 501, "unsupported"},
		{storage.ErrAlreadyExists, 409, "already_exists"},
		{storage.ErrPermissionDenied, 403, "permission_denied"},
		{storage.ErrConflict, 412, "conflict"},
	} {
		fails.err = c.err
		a := s.put("/keys/k", "v")
		if a.status != c.status || a.code() != c.code {
			t.Errorf("%v: %d %s, want %d %s", c.err, a.status, a.code(), c.status, c.code)
		}
		if c.status == 429 && a.header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}
		if a.header.Get("ETag") != "" {
			t.Error("an error with an ETag")
		}
	}
}

type failingApply struct {
	storage.Backend
	err error
}

func (f *failingApply) Apply(context.Context, *storage.WriteSet) (uint64, error) { return 0, f.err }

// A caller that asks for a large value and does not take it is cut off, so that
// it does not keep others out.
func TestCallerThatDoesNotRead(t *testing.T) {
	s := serve(t, func(c *server.Config, _ *server.Settings) {
		c.MaxConcurrent, c.WriteTimeout = 1, 50*time.Millisecond
	})
	large := make([]byte, 8<<20) // more than what the kernel keeps on the way
	if err := s.store.Set(context.Background(), []byte("large"), large); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(conn, "GET %s/keys/large HTTP/1.1\r\nHost: localhost\r\n\r\n", base)
	if _, err := conn.Read(make([]byte, 1)); err != nil { // the answer has begun
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); s.get("/keys/absent").status != 404; {
		if time.Now().After(deadline) {
			t.Fatal("a caller that does not read keeps all others out")
		}
	}
}

// A caller does not decide how much is logged: of failures of a kind there is a record a
// second, and none where a circuit is open, which says so once.
func TestFailuresAreLoggedAtARate(t *testing.T) {
	for code, want := range map[storage.Code]bool{storage.CircuitOpen: false, storage.Unavailable: true, storage.Internal: true} {
		var log bytes.Buffer
		s := serve(t, func(_ *server.Config, set *server.Settings) {
			set.Stores["s"] = storage.New(refuses{storage.UnimplementedBackend{}, code}, storage.Settings{})
			set.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		start := time.Now()
		for range 200 {
			if a := s.get("/keys/k"); a.status < 500 {
				t.Fatalf("%s: %d", code, a.status)
			}
		}
		most := 1 + int(time.Since(start)/time.Second)
		s.stop()
		s.ended <- <-s.ended
		got := strings.Count(log.String(), "request failed")
		if want && (got < 1 || got > most) || !want && got > 0 {
			t.Errorf("%s: %d records, want at most %d: %.500s", code, got, most, log.String())
		}
	}
}

type refuses struct {
	storage.UnimplementedBackend
	code storage.Code
}

func (r refuses) Get(context.Context, []byte) (storage.Item, error) {
	return storage.Item{}, &storage.Error{Code: r.code}
}
