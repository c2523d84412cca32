package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// What a token may be at most, in bytes.
const (
	maxToken   = 4 << 10
	maxSubject = 128
)

// leeway limits how much the clocks of signers and verifiers may differ.
const leeway = 10 * time.Second

// Caller identifies the caller, as a verified token says.
type Caller struct {
	Org     identity.OrganizationSlug
	Kid     string
	Subject string
}

// Verifier verifies the tokens of one audience. It is safe for concurrent use.
type Verifier struct {
	keys   *auth.Verifier
	parser *jwt.Parser
}

// NewVerifier verifies tokens for an audience with its keys. Now is the clock; nil is
// time.Now.
func NewVerifier(keys *auth.Verifier, audience string, now func() time.Time) *Verifier {
	if now == nil {
		now = time.Now
	}
	return &Verifier{keys, jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), // neither none nor HMAC with a public key
		jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway), jwt.WithTimeFunc(now), jwt.WithStrictDecoding(),
	)}
}

// Caller returns the caller of a request. The error is Unauthenticated if the token is missing
// or invalid; its text is for logs, not for callers. Any other error is that of the store of
// keys, without which no token is valid.
func (v *Verifier) Caller(r *http.Request) (c Caller, err error) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 || len(headers[0]) > maxToken {
		return c, storage.Errorf(storage.Unauthenticated, "%d authorization headers; one of at most %d bytes is expected", len(headers), maxToken)
	}
	scheme, signed, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return c, storage.Errorf(storage.Unauthenticated, "the authorization is not a bearer token")
	}
	return v.verify(r.Context(), signed)
}

func (v *Verifier) verify(ctx context.Context, signed string) (c Caller, err error) {
	var claims Claims
	var down error // the store of keys
	_, err = v.parser.ParseWithClaims(signed, &claims, func(t *jwt.Token) (any, error) {
		if c, err = callerOf(t, &claims); err != nil {
			return nil, err
		}
		key, err := v.keys.Key(ctx, c.Org, c.Kid)
		if err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrInvalidArgument) {
			down = err
		}
		return key, err
	})
	if err == nil && claims.ExpiresAt.Sub(claims.IssuedAt.Time) > MaxLife {
		err = fmt.Errorf("it lives longer than %s", MaxLife)
	}
	switch {
	case down != nil:
		return Caller{}, fmt.Errorf("read the key of a token: %w", down)
	case err != nil:
		return Caller{}, storage.Errorf(storage.Unauthenticated, "token: %w", err)
	}
	return c, nil
}

// callerOf returns what a token claims, before it is verified.
func callerOf(t *jwt.Token, claims *Claims) (c Caller, err error) {
	if _, ok := t.Header["crit"]; ok { // whatever it demands is not understood here
		return c, errors.New("its header has crit")
	}
	if c.Kid, _ = t.Header["kid"].(string); c.Kid == "" {
		return c, errors.New("its header has no kid")
	}
	if c.Org, err = identity.Parse[identity.OrganizationSlug](claims.Org); err != nil || c.Org.IsZero() {
		return c, errors.New("it names no organization")
	}
	if claims.IssuedAt == nil {
		return c, errors.New("it has no time of issue")
	}
	c.Subject = claims.Subject
	if c.Subject == "" || len(c.Subject) > maxSubject || !utf8.ValidString(c.Subject) {
		return c, fmt.Errorf("its subject is not 1 to %d bytes of text", maxSubject)
	}
	return c, nil
}
