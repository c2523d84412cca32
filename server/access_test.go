package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
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

// Beyond loopback no caller is served without TLS and authentication.
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
