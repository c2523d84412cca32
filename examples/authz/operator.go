package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/examples/authz/control"
	"github.com/plinthkv/plinth/examples/authz/token"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// operatorKid names the first operator's key.
const operatorKid = "operator"

// firstOperator stores the public key of the first operator, which nothing can be created
// without. If the store has that key already, it changes nothing; another key must be added
// by the Control API.
func (sv *service) firstOperator(ctx context.Context, public auth.PublicKey) error {
	ctx = auth.WithActor(ctx, "start")
	keys := sv.keys[token.Control]
	k, err := auth.New(operatorKid, public, identity.ClientID(control.System), identity.CertID(control.System), time.Now())
	if err != nil {
		return err
	}
	if err = keys.Create(ctx, control.System, k); !errors.Is(err, storage.ErrAlreadyExists) {
		return err
	}
	was, err := keys.Get(ctx, control.System, operatorKid)
	if err == nil && was.PublicKey != public {
		err = errors.New("the store has another operator's key: add this one by the Control API")
	}
	return err
}

// hasOperator reports whether there is a key of an operator.
func (sv *service) hasOperator(ctx context.Context) (bool, error) {
	for _, err := range sv.keys[token.Control].List(auth.WithActor(ctx, "start"), control.System) {
		return err == nil, err
	}
	return false, nil
}

// newKey writes a new private key to a new file that only its owner reads, and returns the
// public half.
func newKey(path string) (k auth.PublicKey, err error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return k, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return k, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return k, err
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: raw}), f.Close())
	if err != nil {
		return k, err
	}
	return auth.NewPublicKey(public)
}

// newOperator makes a key for a service that was started without one.
func newOperator() (path string, k auth.PublicKey, err error) {
	dir, err := os.MkdirTemp("", "authz-")
	if err != nil {
		return "", k, err
	}
	path = filepath.Join(dir, "operator.pem")
	k, err = newKey(path)
	return path, k, err
}

// readKey reads a private key from a file of PEM, PKCS #8, as newKey and openssl write it.
func readKey(path string) (ed25519.PrivateKey, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not a key of Ed25519", path)
	}
	return private, nil
}

// text returns a public key as the Control API takes it. It is no secret, though auth.PublicKey
// keeps it out of logs.
func text(k auth.PublicKey) string { return base64.RawURLEncoding.EncodeToString(k[:]) }
