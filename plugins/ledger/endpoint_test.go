package ledger_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// certificate is one for a host name, signed by itself, and its file.
func certificate(t *testing.T, name string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// behindTLS is a proxy that ends TLS in front of a node, as deployments have it.
func behindTLS(t *testing.T, n *ledgertest.Node, cert tls.Certificate, change ...func(*tls.Config)) string {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}
	for _, f := range change {
		f(config)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	var pipes sync.WaitGroup
	pipes.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(n.Endpoint(), "http://"))
			if err != nil {
				in.Close()
				continue
			}
			for _, p := range [][2]net.Conn{{in, out}, {out, in}} {
				pipes.Go(func() {
					_, _ = io.Copy(p[0], p[1])
					p[0].Close()
					p[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() { l.Close(); n.Cut(); pipes.Wait() })
	return "https://" + l.Addr().String()
}

func TestBehindTLS(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 2})
	cert, ca := certificate(t, "ledger.example")
	endpoint := behindTLS(t, c.Node(0), cert)
	config := func(change func(*ledger.Config)) ledger.Config {
		return settings(c, func(c *ledger.Config) {
			c.Endpoints, c.TLS = []string{endpoint}, ledger.TLS{CA: ca, ServerName: "ledger.example"}
			c.Retry.Attempts, c.Timeouts.Read = 2, "3s"
			change(c)
		})
	}
	b, err := ledger.New(t.Context(), config(func(*ledger.Config) {}), sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	apply(t, b, storage.Put(bs("k"), bs("v")))
	wantValue(t, b, "k", "v")
	// A hint that leaves TLS is not followed.
	c.Lead(1)
	if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("w"))}}); storage.CodeOf(err) != storage.Unavailable {
		t.Errorf("a write whose leader is in the clear: %v", err)
	}
	_, err = ledger.New(t.Context(), config(func(c *ledger.Config) { c.TLS.ServerName = "another.example" }), sdk.Env{})
	wantCode(t, err, storage.Unavailable)
	_, err = ledger.New(t.Context(), config(func(c *ledger.Config) { c.TLS.CA = filepath.Join(t.TempDir(), "none.pem") }), sdk.Env{})
	wantCode(t, err, storage.InvalidArgument)
	// The same certificate without PEM around it.
	der := filepath.Join(t.TempDir(), "ca.der")
	if err := os.WriteFile(der, cert.Certificate[0], 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := ledger.New(t.Context(), config(func(c *ledger.Config) { c.TLS.CA = der }), sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	again.Close(t.Context())
}

// A client that has to say who it is, by files of either form.
func TestClientCertificates(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	cert, ca := certificate(t, "ledger.example")
	clients := x509.NewCertPool()
	own, ownFile := certificate(t, "client.example")
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	clients.AddCert(leaf)
	endpoint := behindTLS(t, c.Node(0), cert, func(s *tls.Config) { s.ClientAuth, s.ClientCAs = tls.RequireAndVerifyClientCert, clients })
	der, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"cert.der": own.Certificate[0], "key.der": der,
		"key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), "junk": []byte("secret-in-a-file")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opened := func(cert, key string) error {
		b, err := ledger.New(t.Context(), settings(c, func(c *ledger.Config) {
			c.Endpoints, c.TLS = []string{endpoint}, ledger.TLS{CA: ca, ServerName: "ledger.example", Cert: cert, Key: key}
			c.Retry.Attempts, c.Timeouts.Read = 2, "3s"
		}), sdk.Env{})
		if err == nil {
			b.Close(t.Context())
		}
		return err
	}
	if err := opened(filepath.Join(dir, "cert.der"), filepath.Join(dir, "key.der")); err != nil {
		t.Error(err)
	}
	if err := opened(ownFile, filepath.Join(dir, "key.pem")); err != nil {
		t.Error(err)
	}
	if err := opened("", ""); storage.CodeOf(err) != storage.Unavailable {
		t.Errorf("nobody in particular: %v", err)
	}
	err = opened(filepath.Join(dir, "junk"), filepath.Join(dir, "key.pem"))
	if e := wantCode(t, err, storage.InvalidArgument); e.ConfigPath != "tls.cert" || strings.Contains(e.Error(), "secret-in-a-file") {
		t.Errorf("at %q: %v", e.ConfigPath, e)
	}
}

// Connections take turns, and small windows let large values through all the same.
func TestConnections(t *testing.T) {
	c := cluster(t, ledgertest.Options{Quirks: largePages()})
	b := open(t, c, largeValues, func(c *ledger.Config) {
		c.ConnectionPoolSize, c.HTTP2 = 3, ledger.HTTP2{StreamWindow: 65535, ConnectionWindow: 65535}
	})
	large := strings.Repeat("v", 1<<20)
	apply(t, b, storage.Put(bs("k"), bs(large)))
	for range 5 {
		wantValue(t, b, "k", large)
	}
	if n := c.Node(0).Connections(); n != 3 {
		t.Errorf("there are %d connections", n)
	}
}

func TestUnixSocketAndCompression(t *testing.T) {
	dir, err := os.MkdirTemp("", "ledger") // a short path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c := cluster(t, ledgertest.Options{Nodes: 2, Addresses: []string{filepath.Join(dir, "1"), filepath.Join(dir, "2")}, Quirks: largePages()})
	b := open(t, c, largeValues, func(c *ledger.Config) { c.Compression = true })
	c.Lead(1)
	apply(t, b, storage.Put(bs("k"), bs(strings.Repeat("v", 100_000))))
	wantValue(t, b, "k", strings.Repeat("v", 100_000))
}
