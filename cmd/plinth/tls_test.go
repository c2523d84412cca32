package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issue writes a certificate and its key, signed by the authority, into files of that name.
// Without one it is an authority itself.
func issue(t *testing.T, dir, name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: parent == nil, BasicConstraintsValid: true}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + "-key.pem": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// A server that asks for certificates is used by every data command that has one, over both
// protocols; one without is refused, and a server of another authority is not talked to.
func TestDataCommandsWithCertificates(t *testing.T) {
	dir := t.TempDir()
	ca, signer := issue(t, dir, "ca", nil, nil)
	issue(t, dir, "server", ca, signer)
	issue(t, dir, "caller", ca, signer)
	issue(t, dir, "other", nil, nil)
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("token"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("plinth.yaml"), []byte("stores: { default: { backend: { plugin: memory } } }\nserver: { token: s3cret, tls: { cert: server.pem, key: server-key.pem, client_ca: ca.pem } }"), 0o600); err != nil {
		t.Fatal(err)
	}
	web, rpc := serveFile(t, at("plinth.yaml"))
	for _, addr := range []string{web, rpc} {
		with := func(args ...string) []string {
			return append(args, "--addr", addr, "--ca", at("ca.pem"), "--cert", at("caller.pem"), "--key", at("caller-key.pem"), "--token-file", at("token"))
		}
		done(t, with("set", "k", "v")...)
		if got := done(t, with("get", "k")...); got != "v" {
			t.Errorf("%s: get prints %q", addr, got)
		}
		for name, c := range map[string]struct {
			args []string
			want string
		}{
			"without a certificate":       {[]string{"get", "k", "--addr", addr, "--ca", at("ca.pem"), "--token", "s3cret"}, ""}, // TLS 1.3 refuses it behind the handshake, which a write may meet first
			"of another authority":        {[]string{"get", "k", "--addr", addr, "--ca", at("other.pem"), "--token", "s3cret"}, "unknown authority"},
			"without a token":             {with("get", "k")[:10], "unauthenticated"},
			"a token file without one":    {append(with("get", "k")[:10], "--token-file", at("empty")), "contains no token"},
			"a token file that is not":    {append(with("get", "k")[:10], "--token-file", at("none")), "no such file"},
			"a certificate without a key": {[]string{"get", "k", "--addr", addr, "--cert", at("caller.pem")}, "--cert requires --key"},
		} {
			out, errs, code := program(t, c.args...)
			if code == exitDone || !strings.Contains(errs, c.want) {
				t.Errorf("%s, %s: %d\n%s%s", addr, name, code, out, errs)
			}
		}
		plain := strings.Replace(strings.Replace(addr, "https:", "http:", 1), "grpcs:", "grpc:", 1)
		if _, errs, code := program(t, "get", "k", "--addr", plain, "--ca", at("ca.pem")); code != exitUsage || !strings.Contains(errs, "certificates require") {
			t.Errorf("certificates in the clear: %d, %s", code, errs)
		}
	}
	inClear := "http" + strings.TrimPrefix(web, "https")
	if _, errs, code := program(t, "get", "k", "--addr", inClear); code != exitFailed || !strings.Contains(errs, "the server requires TLS: use "+web) {
		t.Errorf("over HTTP: %d, %s", code, errs)
	}
	if got := done(t, "status", "--addr", web, "--ca", at("ca.pem"), "--cert", at("caller.pem"), "--key", at("caller-key.pem"), "--token-file", at("token")); !strings.Contains(got, "generation 1") {
		t.Errorf("status: %s", got)
	}
}
