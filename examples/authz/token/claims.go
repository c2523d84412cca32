package token

import (
	"crypto/ed25519"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/plinthkv/plinth/identity"
)

// The audiences. Each API has keys of its own: a key of the one signs nothing for the other.
const (
	Control = "control"
	Engine  = "engine"
)

// MaxLife limits the time between a token's issue and its expiry.
const MaxLife = time.Hour

// Claims holds what a token says. Its header has the kid of the key that it is signed with.
type Claims struct {
	jwt.RegisteredClaims
	// Org names the organization whose keys verify the token. Only its own keys can sign for
	// it, so that it is true once the signature is.
	Org string `json:"org"`
}

// Sign returns a token of an organization for an audience, issued now, for ttl. subject is
// who acts, for the audit log.
func Sign(key ed25519.PrivateKey, kid string, org identity.OrganizationSlug, audience, subject string, now time.Time, ttl time.Duration) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, Claims{Org: org.String(), RegisteredClaims: jwt.RegisteredClaims{
		Subject: subject, Audience: jwt.ClaimStrings{audience}, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
	}})
	t.Header["kid"] = kid
	return t.SignedString(key)
}
