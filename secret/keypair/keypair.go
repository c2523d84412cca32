// Package keypair loads certificates whose private keys are kept as secrets: in memory that is
// neither swapped nor dumped, but for the moment in which they sign.
package keypair

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"os"

	"github.com/plinthkv/plinth/secret"
)

// Load reads a certificate and its private key from files in PEM, as [tls.LoadX509KeyPair]
// does. Its errors are those of that function.
func Load(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return New(cert, key)
}

// New makes a certificate of PEM, as [tls.X509KeyPair] does, and overwrites key. Its private
// key is a [crypto.Signer].
func New(cert, key []byte) (tls.Certificate, error) {
	defer clear(key)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("the private key: %w", err)
	}
	public := pair.PrivateKey.(crypto.Signer).Public() // every key that X509KeyPair takes is one
	wipe(pair.PrivateKey)
	pair.PrivateKey = &signer{key: secret.New(der), public: public}
	return pair, nil
}

// signer signs with a private key that is decoded for each signature.
type signer struct {
	key    *secret.Value // PKCS #8
	public crypto.PublicKey
}

func (s *signer) Public() crypto.PublicKey { return s.public }

func (s *signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	s.key.Use(func(der []byte) {
		var key any
		if key, err = x509.ParsePKCS8PrivateKey(der); err != nil {
			err = fmt.Errorf("the private key was released")
			return
		}
		defer wipe(key)
		signature, err = key.(crypto.Signer).Sign(rand, digest, opts)
	})
	return signature, err
}

// wipe overwrites what can be reached of a key. Copies that the crypto packages have made of
// it stay until the collector's memory is used again.
func wipe(key any) {
	number := func(n *big.Int) {
		if n != nil {
			clear(n.Bits())
		}
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		//lint:ignore SA1019 the key is not used again
		number(k.D)
	case ed25519.PrivateKey:
		clear(k)
	case *rsa.PrivateKey:
		number(k.D)
		number(k.Precomputed.Dp)
		number(k.Precomputed.Dq)
		number(k.Precomputed.Qinv)
		for _, p := range k.Primes {
			number(p)
		}
	}
}
