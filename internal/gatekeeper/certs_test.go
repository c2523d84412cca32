package gatekeeper

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate is one of that number for localhost, signed by itself, and its key.
func certificate(t *testing.T, number int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(number), DNSNames: []string{"localhost"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// met is the number of the certificate that a caller meets.
func met(t *testing.T, address string) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// The next connection gets a replaced certificate, whichever way the files change; one
// that is half written, broken or gone leaves the one before in force, and is reported once.
func TestCertificatesChange(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	put := func(number int64) {
		c, k := certificate(t, number)
		write(t, cert, c)
		write(t, key, k)
	}
	put(1)
	var logged bytes.Buffer
	c, err := newCertificates(Gatekeeper{Cert: cert, Key: key}, slog.New(slog.NewTextHandler(&logged, nil)), []string{"h2"})
	if err != nil {
		t.Fatal(err)
	}
	c.every = 0
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(io.Discard, conn); conn.Close() }()
		}
	}()
	address := l.Addr().(*net.TCPAddr).String()
	meets := func(what string, number int64) {
		t.Helper()
		if got := met(t, address); got != number {
			t.Errorf("%s: the certificate is %d, want %d", what, got, number)
		}
	}
	meets("as it began", 1)
	put(2)
	meets("written anew", 2)

	newer, newerKey := certificate(t, 3)
	write(t, cert, newer)
	meets("half written", 2)
	meets("half written", 2)
	if n := strings.Count(logged.String(), "the previous one stays in use"); n != 1 {
		t.Errorf("it is told %d times:\n%s", n, &logged)
	}
	write(t, key, newerKey)
	meets("wholly written", 3)

	write(t, cert, []byte("no certificate"))
	meets("broken", 3)
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	meets("gone", 3)

	// As Kubernetes does it: the files are links into a folder that is one itself, which is
	// swapped at once.
	for i, number := range []int64{4, 5} {
		c, k := certificate(t, number)
		folder := filepath.Join(dir, []string{"a", "b"}[i])
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, "cert.pem"), c)
		write(t, filepath.Join(folder, "key.pem"), k)
		if err := os.Symlink(folder, filepath.Join(dir, "..new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			for _, name := range []string{"cert.pem", "key.pem"} {
				os.Remove(filepath.Join(dir, name))
				if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		meets("swapped", number)
	}
	if strings.Contains(logged.String(), "PRIVATE") {
		t.Error("the key is logged")
	}
}

// Who may sign the certificates of callers changes with its file too.
func TestClientCAChanges(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, 1)
	for name, content := range map[string][]byte{"cert": cert, "key": key, "ca": cert} {
		write(t, filepath.Join(dir, name), content)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	c, err := newCertificates(Gatekeeper{Cert: at("cert"), Key: at("key"), ClientCA: at("ca")}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.every = 0
	before := c.current().ClientCAs
	other, _ := certificate(t, 2)
	write(t, at("ca"), other)
	if after := c.current().ClientCAs; after.Equal(before) {
		t.Error("the old authority is still the one")
	}
}
