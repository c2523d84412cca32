package auth_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// A service verifies tokens with the keys of an organization. A library for tokens reads
// them and asks which key their kid means.
func ExampleVerifier() {
	ctx := auth.WithActor(context.Background(), "provisioning")
	store := storage.New(memory.New(memory.DefaultConfig(), sdk.Env{}), storage.Settings{})
	keys := auth.NewKeys(auth.OneStore(store), nil)
	const org = identity.OrganizationSlug(7)

	// The client keeps the private half, and registers the public one.
	public, private, _ := ed25519.GenerateKey(nil)
	key, _ := auth.NewPublicKey(public)
	record, _ := auth.New("2026-11", key, 1, 2, time.Now())
	if err := keys.Create(ctx, org, record); err != nil {
		fmt.Println(err)
		return
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.RegisteredClaims{Subject: "ada", ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute))})
	token.Header["kid"] = "2026-11"
	signed, _ := token.SignedString(private)

	// The service asks a verifier, which has the keys in memory.
	verifier, _ := auth.NewVerifier(keys, auth.VerifierOptions{})
	defer verifier.Close()
	subject := func() (string, error) {
		var claims jwt.RegisteredClaims
		_, err := jwt.ParseWithClaims(signed, &claims, func(t *jwt.Token) (any, error) {
			kid, _ := t.Header["kid"].(string)
			return verifier.Key(ctx, org, kid)
		}, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithExpirationRequired())
		return claims.Subject, err
	}
	fmt.Println(subject())

	_ = keys.Revoke(ctx, org, "2026-11", "the laptop was stolen")
	verifier.Forget(org, "2026-11") // or within its bound
	_, err := subject()
	fmt.Println(err)
	// Output:
	// ada <nil>
	// token is unverifiable: error while executing keyfunc: no key is usable now that has the kid "2026-11"
}
