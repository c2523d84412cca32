package auth

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// VerifierOptions configure a [Verifier].
type VerifierOptions struct {
	// Bound limits the age of an answer, and so how long a key may still be accepted after it
	// was revoked elsewhere. By default 10 s.
	Bound time.Duration
	// Refresh sets the age from which a call reads an answer again in the background. By
	// default a third of the bound.
	Refresh time.Duration
	// Keys limits the number of remembered kids, including those without a key; the least used
	// are dropped first. By default 10,000, which take about 10 MB.
	Keys int
	// Now returns the time that decides which keys are usable. If nil, time.Now.
	Now func() time.Time
}

// Verifier returns the current key of a kid from memory. It is safe for concurrent use.
type Verifier struct {
	keys  Store
	bound time.Duration
	cache *otter.Cache[wanted, known]
	now   func() time.Time
}

type wanted struct {
	org identity.OrganizationSlug
	kid string
}

// known caches a key, or its absence.
type known struct {
	asked time.Time // when the store was asked
	there bool
	key   PublicSigningKey
}

// NewVerifier returns a Verifier that reads keys from a store. A missing store, and a
// refresh that is not below the bound, are an InvalidArgument.
func NewVerifier(keys Store, o VerifierOptions) (*Verifier, error) {
	if isNil(keys) {
		return nil, invalid("a verifier requires a store of keys")
	}
	if o.Bound == 0 {
		o.Bound = 10 * time.Second
	}
	if o.Refresh == 0 {
		o.Refresh = o.Bound / 3
	}
	if o.Keys == 0 {
		o.Keys = 10_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Refresh <= 0 || o.Refresh >= o.Bound || o.Keys < 1 {
		return nil, invalid("a verifier needs a refresh (%s) below its bound (%s), and room for keys (%d)", o.Refresh, o.Bound, o.Keys)
	}
	cache, err := otter.New(&otter.Options[wanted, known]{
		MaximumSize:       o.Keys,
		ExpiryCalculator:  otter.ExpiryWriting[wanted, known](o.Bound),
		RefreshCalculator: otter.RefreshWriting[wanted, known](o.Refresh),
	})
	if err != nil {
		return nil, err
	}
	return &Verifier{keys: keys, bound: o.Bound, cache: cache, now: o.Now}, nil
}

// Key returns the key that verifies tokens with a kid. It returns NotFound if no key is
// usable now, and the store's error if the answer in memory is too old and the store
// fails: without an answer there is no key.
func (v *Verifier) Key(ctx context.Context, org identity.OrganizationSlug, kid string) (ed25519.PublicKey, error) {
	if err := checkKid(kid); err != nil {
		return nil, err
	}
	w := wanted{org, kid}
	is, err := v.cache.Get(ctx, w, otter.LoaderFunc[wanted, known](v.load))
	if err == nil && time.Since(is.asked) > v.bound { // the store took long to say it
		v.cache.Invalidate(w)
		is, err = v.load(ctx, w)
	}
	if err != nil {
		return nil, err
	}
	if !is.there || !is.key.Usable(v.now()) {
		return nil, storage.Errorf(storage.NotFound, "no key is usable now that has the kid %.40q", kid)
	}
	return is.key.PublicKey.Ed25519(), nil
}

// load asks the store. An answer that takes longer than the bound is of no use.
func (v *Verifier) load(ctx context.Context, w wanted) (known, error) {
	ctx, cancel := context.WithTimeout(ctx, v.bound)
	defer cancel()
	is := known{asked: time.Now(), there: true}
	var err error
	if is.key, err = v.keys.Get(ctx, w.org, w.kid); errors.Is(err, storage.ErrNotFound) {
		is.there, err = false, nil
	}
	return is, err
}

// Forget drops the answer for a kid, so that the next call reads the store: for callers
// that learn of a revocation.
func (v *Verifier) Forget(org identity.OrganizationSlug, kid string) {
	v.cache.Invalidate(wanted{org, kid})
}

// Close ends the work in the background.
func (v *Verifier) Close() { v.cache.StopAllGoroutines() }
