package auth_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/storage"
)

// A key is rotated once, whatever the graces, and whether it had an end before. Within its
// grace it can be switched, revoked and deleted; its kid then begins anew.
func TestRotatedOnce(t *testing.T) {
	graces := map[string]time.Duration{"none": 0, "shorter": 30 * time.Minute, "equal": time.Hour, "longer": 2 * time.Hour}
	ends := map[string]time.Duration{"no end": 0, "an earlier end": 45 * time.Minute, "that end": time.Hour, "a later end": 3 * time.Hour}
	onEach(t, func(t *testing.T, keys *auth.Keys, store *storage.Store, clock *now) {
		ctx := t.Context()
		for end, after := range ends {
			for first, grace := range graces {
				for second, again := range graces {
					name := end + ", " + first + ", " + second
					clock.Time = start
					k := newKey(t, name)
					if after > 0 {
						k.ValidUntil = start.Add(after)
					}
					want(t, name, keys.Create(ctx, org, k), nil)
					err := keys.Rotate(ctx, org, name, newKey(t, name+" 1"), grace)
					if after > 0 && grace > after {
						want(t, name, err, storage.Conflict)
						if got, err := keys.Get(ctx, org, name); err != nil || got != k {
							t.Errorf("%s: a rotation that failed left %+v, %v", name, got, err)
						}
						want(t, name+": revoked instead", keys.Rotate(ctx, org, name, newKey(t, name+" 2"), 0), nil)
						continue
					}
					want(t, name, err, nil)
					before, err := keys.Get(ctx, org, name)
					if err != nil || grace > 0 && !before.ValidUntil.Equal(start.Add(grace)) || before.Usable(start.Add(grace)) != (grace > 0) || before.Usable(start.Add(grace+1)) {
						t.Errorf("%s: %+v, %v", name, before, err)
					}
					for _, later := range []time.Duration{0, time.Minute, 90 * time.Minute} {
						clock.Time = start.Add(later)
						want(t, name+": again", keys.Rotate(ctx, org, name, newKey(t, name+" 2"), again), storage.Conflict)
					}
					_, err = keys.Get(ctx, org, name+" 2")
					want(t, name+": the key of the second", err, storage.NotFound)
					if got, err := keys.Get(ctx, org, name); err != nil || got != before {
						t.Errorf("%s: the second rotation left %+v, %v", name, got, err)
					}
				}
			}
		}
		clock.Time = start

		want(t, "create", keys.Create(ctx, org, newKey(t, "k")), nil)
		want(t, "rotate", keys.Rotate(ctx, org, "k", newKey(t, "k 1"), time.Hour), nil)
		want(t, "deactivate", keys.Deactivate(ctx, org, "k"), nil)
		want(t, "rotate what is switched off", keys.Rotate(ctx, org, "k", newKey(t, "k 2"), time.Minute), storage.Conflict)
		want(t, "activate", keys.Activate(ctx, org, "k"), nil)
		want(t, "rotate what was switched", keys.Rotate(ctx, org, "k", newKey(t, "k 2"), time.Minute), storage.Conflict)
		want(t, "rotate the next", keys.Rotate(ctx, org, "k 1", newKey(t, "k 2"), time.Minute), nil)
		want(t, "revoke", keys.Revoke(ctx, org, "k", "it leaked"), nil)
		if got, err := keys.Get(ctx, org, "k"); err != nil || got.Active || got.RevocationReason != "it leaked" {
			t.Errorf("%+v, %v", got, err)
		}
		want(t, "rotate what is revoked", keys.Rotate(ctx, org, "k", newKey(t, "k 3"), 0), auth.InvalidState)

		want(t, "delete", keys.Delete(ctx, org, "k 1"), nil)
		want(t, "create", keys.Create(ctx, org, newKey(t, "k 1")), nil)
		want(t, "rotate what begins anew", keys.Rotate(ctx, org, "k 1", newKey(t, "k 3"), time.Minute), nil)
		want(t, "delete by another library", store.Delete(ctx, []byte("org/7/signing-keys/k 1")), nil)
		want(t, "create", keys.Create(ctx, org, newKey(t, "k 1")), nil)
		want(t, "rotate what begins anew", keys.Rotate(ctx, org, "k 1", newKey(t, "k 4"), time.Minute), nil)
	})
}

// Of many that rotate a key at once, with every grace, exactly one does, and its grace counts.
// All have read the key when the first one writes. It has the end of the longest grace: a
// rotation by that leaves its record as it is.
func TestOneRotationWins(t *testing.T) {
	graces := []time.Duration{0, time.Minute, 30 * time.Minute, time.Hour}
	onEach(t, func(t *testing.T, keys *auth.Keys, store *storage.Store, clock *now) {
		ctx := t.Context()
		for round := range 50 {
			old := fmt.Sprintf("old %d", round)
			k := newKey(t, old)
			k.ValidUntil = start.Add(time.Hour)
			want(t, "create", keys.Create(ctx, org, k), nil)
			errs := make([]error, 12)
			grace := func(i int) time.Duration { // in some rounds all leave the record as it is
				if round%3 == 0 {
					return time.Hour
				}
				return graces[i%len(graces)]
			}
			var wg, reading sync.WaitGroup
			reading.Add(len(errs))
			racing := auth.NewKeys(auth.OneStore(store), func() time.Time { // between what is read and what is written
				reading.Done()
				reading.Wait()
				return clock.get()
			})
			for i := range errs {
				wg.Go(func() {
					errs[i] = racing.Rotate(ctx, org, old, newKey(t, fmt.Sprintf("new %d %d", round, i)), grace(i))
				})
			}
			wg.Wait()
			won := 0
			for i, err := range errs {
				_, there := keys.Get(ctx, org, fmt.Sprintf("new %d %d", round, i))
				if err != nil {
					want(t, "rotate", err, storage.Conflict)
					want(t, "the next key", there, storage.NotFound)
					continue
				}
				won++
				want(t, "the next key", there, nil)
				if k, err := keys.Get(ctx, org, old); err != nil || grace(i) == 0 == k.RevokedAt.IsZero() || grace(i) > 0 && !k.ValidUntil.Equal(start.Add(grace(i))) {
					t.Errorf("round %d: after a grace of %s: %+v, %v", round, grace(i), k, err)
				}
			}
			if won != 1 {
				t.Errorf("round %d: %d rotations of one key", round, won)
			}
		}
	})
}
