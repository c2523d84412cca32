//go:build unix

package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// authority is who signs certificates of a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue writes NAME.pem and NAME.key, and returns their paths; without an issuer it is
// self-signed.
func (a *authority) issue(t *testing.T, name string) (cert, key string) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if a.cert == nil {
		c.IsCA, a.cert, a.key = true, c, own
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// Over TLS both sides know each other; who does not is refused in bounded time.
func TestTLS(t *testing.T) {
	t.Parallel()
	ours, others := &authority{dir: t.TempDir()}, &authority{dir: t.TempDir()}
	ca, _ := ours.issue(t, "ca")
	serverCert, serverKey := ours.issue(t, "server")
	clientCert, clientKey := ours.issue(t, "client")
	otherCA, _ := others.issue(t, "ca")
	otherCert, otherKey := others.issue(t, "client")
	with := func(ca, cert, key string) func(map[string]any) {
		return func(m map[string]any) {
			m["tls"] = map[string]any{"ca": ca, "cert": cert, "key": key}
			m["timeouts"] = map[string]any{"connect": "3s"}
		}
	}
	c := prepared(t, 1, "--cert-file", serverCert, "--key-file", serverKey, "--client-cert-auth", "--trusted-ca-file", ca)
	c.members[0].scheme = "https://"
	c.change = append(c.change, with(ca, clientCert, clientKey))
	c.start(t)
	b := c.open(t, "tls/")
	if err := set(b, "k", "v"); err != nil || get(b, "k") != "v" {
		t.Errorf("%v, %s", err, get(b, "k"))
	}
	for name, w := range map[string]struct {
		change     func(map[string]any)
		code       storage.Code
		path, want string
	}{
		"another authority":   {with(otherCA, clientCert, clientKey), storage.Unavailable, "endpoints[0]", "unknown authority"},
		"another client":      {with(ca, otherCert, otherKey), storage.Unavailable, "endpoints[0]", ""},
		"no client":           {with(ca, "", ""), storage.Unavailable, "endpoints[0]", ""},
		"no file":             {with("/no/such/file", "", ""), storage.InvalidArgument, "tls.ca", "cannot be read"},
		"no certificates":     {with(clientKey, "", ""), storage.InvalidArgument, "tls.ca", "holds no certificate"},
		"a key of another":    {with(ca, clientCert, otherKey), storage.InvalidArgument, "tls.cert", "cannot be read"},
		"plain, not over TLS": {func(m map[string]any) { delete(m, "tls"); m["endpoints"] = []string{"http://" + c.members[0].client} }, storage.Unavailable, "endpoints[0]", ""},
	} {
		_, err := Open(t.Context(), c.env("tls/", nil, w.change))
		wantCode(t, name, err, w.code, w.want)
		if path := storage.AsError(err).ConfigPath; path != w.path {
			t.Errorf("%s: the error is about %q: %v", name, path, err)
		}
	}
}
