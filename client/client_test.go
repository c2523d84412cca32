package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// start serves b on the address, or a free one, until the test ends.
func start(t *testing.T, c grpcserver.Config, b storage.Backend, now func() time.Time) *served {
	t.Helper()
	s, err := serve(c, b, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop() })
	return s
}

func dial(t *testing.T, c client.Config, s client.Settings) *client.Client {
	t.Helper()
	s.Log = silent
	b, err := client.Dial(t.Context(), c, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	return b
}

func put(key, value string) *storage.WriteSet {
	return &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(key), []byte(value))}}
}

// Dial reports what is wrong with a configuration or a server, and leaves nothing behind.
func TestDialFails(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	srv, err := serve(grpcserver.Config{Listener: server.Listener{Token: secret.Copy("secret")}}, mem(time.Now), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.stop()
	for name, c := range map[string]struct {
		config client.Config
		code   storage.Code
		says   string
	}{
		"no address":        {client.Config{}, storage.InvalidArgument, "neither host:port nor unix:/path"},
		"no port":           {client.Config{Address: "localhost"}, storage.InvalidArgument, "neither"},
		"half a pair":       {client.Config{Address: srv.address, TLS: client.TLS{Cert: "c"}}, storage.InvalidArgument, "must be set together"},
		"no such file":      {client.Config{Address: srv.address, TLS: client.TLS{CA: "/none"}}, storage.InvalidArgument, "no such file"},
		"token in clear":    {client.Config{Address: "kv.example.org:7420", Token: secret.Copy("secret")}, storage.InvalidArgument, "in the clear"},
		"nobody there":      {client.Config{Address: "127.0.0.1:1"}, storage.Unavailable, "127.0.0.1:1"},
		"no socket":         {client.Config{Address: "unix:/none/s"}, storage.Unavailable, "/none/s"},
		"no token":          {client.Config{Address: srv.address}, storage.Unauthenticated, "token"},
		"no such store":     {client.Config{Address: srv.address, Token: secret.Copy("secret"), Store: "none"}, storage.InvalidArgument, `unknown store "none"`},
		"TLS where is none": {client.Config{Address: srv.address, TLS: client.TLS{CA: client.SystemCA}}, storage.Unavailable, "first record does not look like a TLS handshake"},
	} {
		_, err := client.Dial(t.Context(), c.config, client.Settings{Log: silent})
		if storage.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%s), want %s about %q", name, err, storage.CodeOf(err), c.code, c.says)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Dial(ctx, client.Config{Address: srv.address, Token: secret.Copy("secret")}, client.Settings{Log: silent}); !errors.Is(err, context.Canceled) {
		t.Errorf("under a context that has ended: %v", err)
	}
}

// A server that accepts and says nothing is given up in time.
func TestSilentServer(t *testing.T) {
	p, err := newProxy("127.0.0.1:1", 1, rough{detour: 1, wait: time.Minute}) // it never gets through
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	p.begin()
	begun := time.Now()
	_, err = client.Dial(t.Context(), client.Config{Address: p.address(), ConnectTimeout: 100 * time.Millisecond}, client.Settings{Log: silent})
	if storage.CodeOf(err) != storage.Unavailable || time.Since(begun) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
}

func TestUnixSocketAndToken(t *testing.T) {
	path := socket(t)
	start(t, grpcserver.Config{Listener: server.Listener{Address: "unix:" + path, Token: secret.Copy("secret")}}, mem(time.Now), time.Now)
	c := dial(t, client.Config{Address: "unix:" + path, Token: secret.Copy("secret"), Store: "s"}, client.Settings{})
	if _, err := c.Apply(t.Context(), put("k", "v")); err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	cert, key := selfSigned(t)
	srv := start(t, grpcserver.Config{Listener: server.Listener{Cert: cert, Key: key, ClientCA: cert}}, mem(time.Now), time.Now)
	c := dial(t, client.Config{Address: srv.address, TLS: client.TLS{CA: cert, Cert: cert, Key: key, ServerName: "localhost"}}, client.Settings{})
	if _, err := c.Apply(t.Context(), put("k", "v")); err != nil {
		t.Error(err)
	}
	const again = 10 // gRPC connects again at once, and does not always report the first time
	for name, wrong := range map[string]struct {
		tls  client.TLS
		says string
	}{
		"another name":           {client.TLS{CA: cert, Cert: cert, Key: key, ServerName: "elsewhere"}, "certificate is valid for localhost, not elsewhere"},
		"no certificate of ours": {client.TLS{CA: cert, ServerName: "localhost"}, ""},
		"not trusted":            {client.TLS{CA: client.SystemCA, Cert: cert, Key: key, ServerName: "localhost"}, "unknown authority"},
		"plain":                  {client.TLS{}, ""},
	} {
		for range again {
			_, err := client.Dial(t.Context(), client.Config{Address: srv.address, TLS: wrong.tls, ConnectTimeout: 5 * time.Second}, client.Settings{Log: silent})
			if storage.CodeOf(err) != storage.Unavailable || !strings.Contains(err.Error(), wrong.says) || strings.Contains(err.Error(), "lost before") {
				t.Errorf("%s: %v", name, err)
			}
		}
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

// changing is a backend whose Info is changed by the test.
type changing struct {
	storage.Backend
	info storage.Info
}

func (c *changing) Info() storage.Info { return c.info }

// A server that goes and comes back is found again, with the incarnation that it
// has now; one that can do less than before is not used, until one can.
func TestServerComesBack(t *testing.T) {
	path := socket(t)
	at := grpcserver.Config{Listener: server.Listener{Address: "unix:" + path}}
	b := &changing{Backend: mem(time.Now)}
	b.info = b.Backend.Info()
	srv := start(t, at, b, time.Now)
	c := dial(t, client.Config{Address: "unix:" + path, Attempts: 2}, client.Settings{})
	must(t, apply(c, put("k", "v")))
	before := c.Info()

	srv.stop()
	_, err := c.Get(t.Context(), []byte("k"))
	if e := storage.AsError(err); e == nil || e.Code != storage.Unavailable || !e.Retryable() {
		t.Fatalf("without a server: %v", err)
	}
	if e := storage.AsError(apply(c, put("k", "w"))); e == nil || e.Code != storage.Unavailable || e.Unknown {
		t.Errorf("a write without a server: %v", e)
	}
	if h, err := c.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Unhealthy || h.Reason == "" {
		t.Errorf("health without a server: %+v, %v", h, err)
	}
	if h, err := c.Health(t.Context(), storage.Liveness); err != nil || h.Status != storage.Healthy {
		t.Errorf("liveness without a server: %+v, %v", h, err)
	}

	b.info.Incarnation[0] ^= 1
	srv = start(t, at, b, time.Now)
	eventually(t, func() bool { it, err := c.Get(t.Context(), []byte("k")); return err == nil && string(it.Value) == "v" })
	if c.Info().Incarnation == before.Incarnation {
		t.Error("the incarnation is that of before")
	}

	srv.stop()
	b.info.Caps &^= storage.CapAtomic
	srv = start(t, at, b, time.Now)
	for range 5 {
		if err := apply(c, put("k", "x")); storage.CodeOf(err) != storage.Unavailable || storage.AsError(err).Unknown {
			t.Fatalf("a server that can do less is used: %v", err)
		}
	}
	eventually(t, func() bool {
		_, err := c.Get(t.Context(), []byte("k"))
		return storage.CodeOf(err) == storage.Unavailable && strings.Contains(err.Error(), "without atomic")
	})
	srv.stop()
	b.info.Caps |= storage.CapAtomic
	start(t, at, b, time.Now)
	eventually(t, func() bool { return apply(c, put("k", "y")) == nil })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func apply(c *client.Client, w *storage.WriteSet) error {
	_, err := c.Apply(context.Background(), w)
	return err
}

// eventually waits for what a pause between attempts may delay.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
}

// A backend that is restarted behind the same connection is noticed.
func TestInfoIsAskedAgain(t *testing.T) {
	b := &changing{Backend: mem(time.Now)}
	b.info = b.Backend.Info()
	var behind atomicBackend
	behind.set(b)
	srv := start(t, grpcserver.Config{}, &behind, time.Now)
	c := dial(t, client.Config{Address: srv.address, Refresh: 5 * time.Millisecond}, client.Settings{})
	other := &changing{Backend: b.Backend, info: b.info}
	other.info.Incarnation[0] ^= 1
	behind.set(other)
	eventually(t, func() bool { return c.Info().Incarnation == other.info.Incarnation })
	less := &changing{Backend: b.Backend, info: other.info}
	less.info.Caps &^= storage.CapTTL
	behind.set(less)
	eventually(t, func() bool {
		_, err := c.Get(t.Context(), []byte("k"))
		return storage.CodeOf(err) == storage.Unavailable && strings.Contains(err.Error(), "without ttl")
	})
}

// A caller that leaves is let go at once, also from a server that hangs.
func TestCancel(t *testing.T) {
	entered := make(chan struct{}, 8)
	f := storagetest.NewFaults(mem(time.Now), storagetest.Fault{Hold: make(chan struct{})})
	srv := start(t, grpcserver.Config{Listener: server.Listener{ShutdownTimeout: time.Second}}, &entering{f, entered}, time.Now)
	c := dial(t, client.Config{Address: srv.address}, client.Settings{})
	for name, call := range map[string]func(context.Context) error{
		"get":    func(ctx context.Context) error { _, err := c.Get(ctx, []byte("k")); return err },
		"apply":  func(ctx context.Context) error { _, err := c.Apply(ctx, put("k", "v")); return err },
		"scan":   func(ctx context.Context) error { _, err := c.Scan(ctx, storage.Query{}); return err },
		"health": func(ctx context.Context) error { _, err := c.Health(ctx, storage.Readiness); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- call(ctx) }()
		<-entered
		cancel()
		select {
		case err := <-ended:
			if e := storage.AsError(err); !errors.Is(err, context.Canceled) || e.Unknown != (name == "apply") {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: it is not let go", name)
		}
	}
}

// Close lets a call finish, and does not wait longer than it may.
func TestClose(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 1)
	f := storagetest.NewFaults(mem(time.Now), storagetest.Fault{Hold: gate})
	srv := start(t, grpcserver.Config{}, &entering{f, entered}, time.Now)
	c := dial(t, client.Config{Address: srv.address}, client.Settings{})
	call := make(chan error, 1)
	go func() { call <- apply(c, put("k", "v")) }()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- c.Close(context.Background()) }()
	eventually(t, func() bool {
		_, err := c.Health(t.Context(), storage.Liveness)
		return errors.Is(err, storage.ErrShuttingDown)
	})
	close(gate)
	if err := errors.Join(<-call, <-closed, c.Close(context.Background())); err != nil {
		t.Error(err)
	}

	f.Set(storagetest.Fault{Hold: make(chan struct{})})
	c = dial(t, client.Config{Address: srv.address}, client.Settings{})
	go func() { call <- apply(c, put("k", "v")) }()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close under a context that has ended: %v", err)
	}
	if e := storage.AsError(<-call); e == nil || !e.Unknown {
		t.Errorf("a write that Close cut off: %v", e)
	}
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
