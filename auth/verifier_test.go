package auth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/identity"
	"github.com/plinthkv/plinth/storage"
)

// slow is a store of keys whose reads a test counts, delays and fails.
type slow struct {
	auth.Store
	reads atomic.Int64
	fail  atomic.Pointer[error]
	delay atomic.Int64
}

func (s *slow) Get(ctx context.Context, org identity.OrganizationSlug, kid string) (auth.PublicSigningKey, error) {
	s.reads.Add(1)
	k, err := s.Store.Get(ctx, org, kid)
	select {
	case <-time.After(time.Duration(s.delay.Load())):
	case <-ctx.Done():
		return k, ctx.Err()
	}
	if f := s.fail.Load(); f != nil {
		return auth.PublicSigningKey{}, *f
	}
	return k, err
}

func verifier(t *testing.T, keys auth.Store, o auth.VerifierOptions) *auth.Verifier {
	t.Helper()
	v, err := auth.NewVerifier(keys, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// Answers come from memory, those that there is no key too.
func TestVerifierRemembers(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, clock *now) {
		ctx := t.Context()
		s := &slow{Store: keys}
		v := verifier(t, s, auth.VerifierOptions{Bound: time.Hour, Now: clock.get})
		k := newKey(t, "k")
		k.ValidUntil = start.Add(time.Hour)
		want(t, "create", keys.Create(ctx, org, k), nil)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					if key, err := v.Key(ctx, org, "k"); err != nil || !key.Equal(k.PublicKey.Ed25519()) {
						t.Errorf("%v", err)
					}
					_, err := v.Key(ctx, org, "none")
					want(t, "none", err, storage.NotFound)
				}
			})
		}
		wg.Wait()
		if n := s.reads.Load(); n != 2 {
			t.Errorf("the store was read %d times", n)
		}
		clock.Time = start.Add(time.Hour + 1)
		_, err := v.Key(ctx, org, "k")
		want(t, "after its window", err, storage.NotFound)
		_, err = v.Key(ctx, org, "a/b")
		want(t, "a bad kid", err, storage.InvalidArgument)
		want(t, "revoke", keys.Revoke(ctx, org, "k", ""), nil)
		clock.Time = start
		_, err = v.Key(ctx, org, "k")
		want(t, "within the bound", err, nil)
		v.Forget(org, "k")
		_, err = v.Key(ctx, org, "k")
		want(t, "when told", err, storage.NotFound)
	})
}

// A revocation is heard of within the bound, by refreshes in the background, which nobody
// waits for.
func TestVerifierHearsOfRevocations(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, clock *now) {
		ctx := t.Context()
		const bound = 2 * time.Second
		v := verifier(t, keys, auth.VerifierOptions{Bound: bound, Refresh: 20 * time.Millisecond, Now: clock.get})
		want(t, "create", keys.Create(ctx, org, newKey(t, "k")), nil)
		_, err := v.Key(ctx, org, "k")
		want(t, "before", err, nil)
		want(t, "revoke", keys.Revoke(ctx, org, "k", ""), nil)
		for revoked := time.Now(); ; time.Sleep(time.Millisecond) {
			if _, err := v.Key(ctx, org, "k"); errors.Is(err, storage.NotFound) {
				return
			}
			if time.Since(revoked) > bound {
				t.Fatal("the revoked key is still good after the bound")
			}
		}
	})
}

// Where the store does not answer, what is in memory is good up to the bound and no longer.
func TestVerifierSaysNo(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, clock *now) {
		ctx := t.Context()
		s := &slow{Store: keys}
		const bound = 150 * time.Millisecond
		v := verifier(t, s, auth.VerifierOptions{Bound: bound, Refresh: time.Millisecond, Now: clock.get})
		want(t, "create", keys.Create(ctx, org, newKey(t, "k")), nil)
		asked := time.Now()
		_, err := v.Key(ctx, org, "k")
		want(t, "before", err, nil)
		down := error(storage.Unavailable)
		s.fail.Store(&down)
		for {
			_, err := v.Key(ctx, org, "k")
			if err != nil {
				want(t, "when it is too old", err, storage.Unavailable)
				break
			}
			if time.Since(asked) > 10*bound {
				t.Fatal("an answer is good long after the bound")
			}
			time.Sleep(time.Millisecond)
		}
		s.fail.Store(nil)
		_, err = v.Key(ctx, org, "k")
		want(t, "when it answers again", err, nil)

		// A store that hangs holds nobody longer than they wait.
		s.delay.Store(int64(time.Hour))
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if _, err := v.Key(ctx, org, "other"); err == nil {
			t.Error("a store that hangs has a key")
		}
	})
}

func TestVerifierOptions(t *testing.T) {
	for _, o := range []auth.VerifierOptions{{Bound: time.Second, Refresh: time.Second}, {Bound: -1}, {Keys: -1}, {Refresh: -1}} {
		_, err := auth.NewVerifier(nil, o)
		want(t, fmt.Sprintf("%+v", o), err, storage.InvalidArgument)
	}
}

func BenchmarkVerifier(b *testing.B) {
	clock := &now{start}
	store := storage.New(backends(clock)["memory"], storage.Settings{Clock: clock.get})
	keys := auth.NewKeys(auth.OneStore(store), nil)
	k, _ := auth.New("k", publicKey(1), 1, 2, start)
	if err := keys.Create(b.Context(), org, k); err != nil {
		b.Fatal(err)
	}
	v, _ := auth.NewVerifier(keys, auth.VerifierOptions{Now: clock.get})
	b.Cleanup(v.Close)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Key(b.Context(), org, "k"); err != nil {
			b.Fatal(err)
		}
	}
}
