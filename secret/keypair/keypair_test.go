package keypair

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// kinds are the keys that certificates have.
var kinds = []struct {
	name string
	make func() (crypto.Signer, error)
}{
	{"P-256", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
	{"P-384", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) }},
	{"RSA 2048", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }},
	{"Ed25519", func() (crypto.Signer, error) { _, key, err := ed25519.GenerateKey(rand.Reader); return key, err }},
}

// files are a certificate for localhost and its key, in PEM.
func files(t testing.TB, key crypto.Signer) (cert, private []byte) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func TestConnections(t *testing.T) {
	for _, kind := range kinds {
		key, err := kind.make()
		if err != nil {
			t.Fatal(err)
		}
		cert, private := files(t, key)
		dir := t.TempDir()
		for name, content := range map[string][]byte{"cert": cert, "key": private} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		pair, err := Load(filepath.Join(dir, "cert"), filepath.Join(dir, "key"))
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprint(kind.name, " ", tls.VersionName(version)), func(t *testing.T) { connect(t, pair, version) })
		}
	}
}

// connect has both sides authenticate by pair, twice.
func connect(t *testing.T, pair tls.Certificate, version uint16) {
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for range 2 {
		near, far := net.Pipe()
		server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAnyClientCert, MinVersion: version, MaxVersion: version})
		client := tls.Client(near, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, ServerName: "localhost", MinVersion: version, MaxVersion: version})
		done := make(chan error, 1)
		go func() { done <- server.HandshakeContext(t.Context()) }()
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal("client:", err)
		}
		if err := <-done; err != nil {
			t.Fatal("server:", err)
		}
	}
}

// No bytes of the key stay in what was loaded, nor in what it was loaded from.
func TestKeyIsGone(t *testing.T) {
	for _, kind := range kinds {
		key, err := kind.make()
		if err != nil {
			t.Fatal(err)
		}
		cert, private := files(t, key)
		pair, err := New(cert, private)
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.Trim(private, "\x00")) > 0 {
			t.Errorf("%s: the PEM is still there: %q", kind.name, private)
		}
		s, ok := pair.PrivateKey.(*signer)
		if !ok {
			t.Fatalf("%s: the key is a %T", kind.name, pair.PrivateKey)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			s.key.Use(func(der []byte) {
				text := fmt.Sprintf(verb, *s)
				for i := 0; i+8 <= len(der); i++ {
					if bytes.Contains([]byte(text), der[i:i+8]) || bytes.Contains([]byte(text), fmt.Appendf(nil, "%x", der[i:i+8])) {
						t.Fatalf("%s: %s shows the key", kind.name, verb)
					}
				}
			})
		}
		s.key.Release()
		if _, err := s.Sign(rand.Reader, make([]byte, 32), crypto.SHA256); err == nil {
			t.Errorf("%s: signed with a key that was released", kind.name)
		}
	}
}

func TestWiped(t *testing.T) {
	for _, kind := range kinds {
		key, err := kind.make()
		if err != nil {
			t.Fatal(err)
		}
		wipe(key)
		left := 0
		switch k := key.(type) {
		case *ecdsa.PrivateKey:
			//lint:ignore SA1019 it is looked at, not used
			left = words(k.D)
		case *rsa.PrivateKey:
			left = words(k.D) + words(k.Primes...)
		case ed25519.PrivateKey:
			left = len(bytes.Trim(k, "\x00"))
		}
		if left > 0 {
			t.Errorf("%s: %d words or bytes are left", kind.name, left)
		}
	}
}

func words(all ...*big.Int) (n int) {
	for _, one := range all {
		for _, w := range one.Bits() {
			if w != 0 {
				n++
			}
		}
	}
	return n
}

func TestWrongFiles(t *testing.T) {
	key, _ := kinds[0].make()
	other, _ := kinds[0].make()
	cert, private := files(t, key)
	_, others := files(t, other)
	for name, pair := range map[string][2][]byte{"another key": {cert, others}, "no key": {cert, cert}, "no certificate": {private, private}, "empty": {nil, nil}} {
		if _, err := New(bytes.Clone(pair[0]), bytes.Clone(pair[1])); err == nil {
			t.Error(name, "is taken")
		}
	}
	if _, err := Load("none", "none"); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// What it costs to decode the key for each signature.
func BenchmarkSign(b *testing.B) {
	for _, kind := range kinds {
		key, err := kind.make()
		if err != nil {
			b.Fatal(err)
		}
		cert, private := files(b, key)
		plain, err := tls.X509KeyPair(cert, private)
		if err != nil {
			b.Fatal(err)
		}
		kept, err := New(cert, private)
		if err != nil {
			b.Fatal(err)
		}
		digest, hash := make([]byte, 32), crypto.SHA256
		if kind.name == "Ed25519" {
			hash = 0
		}
		for name, pair := range map[string]tls.Certificate{"plain": plain, "secret": kept} {
			b.Run(kind.name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if _, err := pair.PrivateKey.(crypto.Signer).Sign(rand.Reader, digest, hash); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
