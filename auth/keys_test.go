package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/storage"
)

func TestLifeOfAKey(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, clock *now) {
		ctx := t.Context()
		k := newKey(t, "k")
		want(t, "create", keys.Create(ctx, org, k), nil)
		want(t, "create again", keys.Create(ctx, org, k), storage.AlreadyExists)
		got, err := keys.Get(ctx, org, "k")
		if err != nil || got != k {
			t.Errorf("%+v, %v", got, err)
		}
		_, err = keys.Get(ctx, org+1, "k")
		want(t, "of another organization", err, storage.NotFound)
		want(t, "create in another organization", keys.Create(ctx, org+1, k), nil)

		want(t, "deactivate", keys.Deactivate(ctx, org, "k"), nil)
		want(t, "deactivate again", keys.Deactivate(ctx, org, "k"), nil)
		if got := kids(t, keys.ListActive(ctx, org)); len(got) > 0 {
			t.Errorf("%v are usable", got)
		}
		want(t, "activate", keys.Activate(ctx, org, "k"), nil)
		want(t, "activate again", keys.Activate(ctx, org, "k"), nil)
		if got := kids(t, keys.ListActive(ctx, org)); !slices.Equal(got, []string{"k"}) {
			t.Errorf("%v are usable", got)
		}

		clock.Time = clock.Add(time.Hour)
		want(t, "revoke", keys.Revoke(ctx, org, "k", "it leaked"), nil)
		clock.Time = clock.Add(time.Hour)
		want(t, "revoke again", keys.Revoke(ctx, org, "k", "another reason"), nil)
		got, err = keys.Get(ctx, org, "k")
		if err != nil || got.Active || !got.RevokedAt.Equal(start.Add(time.Hour)) || got.RevocationReason != "it leaked" {
			t.Errorf("%+v, %v", got, err)
		}
		want(t, "activate what is revoked", keys.Activate(ctx, org, "k"), auth.InvalidState)
		want(t, "deactivate what is revoked", keys.Deactivate(ctx, org, "k"), nil)
		if got, err := keys.Get(ctx, org+1, "k"); err != nil || got != k {
			t.Errorf("the other organization's is %+v, %v", got, err)
		}
		for name, err := range map[string]error{
			"activate": keys.Activate(ctx, org, "none"), "deactivate": keys.Deactivate(ctx, org, "none"), "revoke": keys.Revoke(ctx, org, "none", ""),
			"delete": keys.Delete(ctx, org, "none"), "rotate": keys.Rotate(ctx, org, "none", newKey(t, "next"), 0),
		} {
			want(t, name+" of none", err, storage.NotFound)
		}
	})
}

// A key that is valid from now on is usable at once: the clock of a store has whole
// milliseconds, and that of the caller does not.
func TestValidFromNow(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, clock *now) {
		ctx := t.Context()
		for name, c := range map[string]struct {
			from   time.Duration
			usable bool
		}{
			"in this millisecond":     {time.Millisecond - 1, true},
			"in the next millisecond": {time.Millisecond, false},
		} {
			k, err := auth.New("k", publicKey(1), 11, 12, start.Add(c.from))
			want(t, name, errors.Join(err, keys.Create(ctx, org, k)), nil)
			if got := len(kids(t, keys.ListActive(ctx, org))) == 1; got != c.usable {
				t.Errorf("%s: it is listed as active: %v", name, got)
			}
			_, err = verifier(t, keys, auth.VerifierOptions{Now: clock.get}).Key(ctx, org, "k")
			if c.usable {
				want(t, name, err, nil)
			} else {
				want(t, name, err, storage.NotFound)
			}
			want(t, "delete", keys.Delete(ctx, org, "k"), nil)
		}
	})
}

// A missing argument is refused at construction, not by the first call.
func TestConstructorsRefuseNil(t *testing.T) {
	clock := &now{start}
	store := storage.New(backends(clock)["memory"], storage.Settings{Clock: clock.get})
	t.Cleanup(func() { store.Close(context.Background()) })
	keys := auth.NewKeys(auth.OneStore(store), nil)
	for name, create := range map[string]func() error{
		"audited without keys": func() error { _, err := auth.NewAudited(nil, &recorded{}, auth.AuditOptions{}); return err },
		"audited with nil keys": func() error {
			_, err := auth.NewAudited((*auth.Keys)(nil), &recorded{}, auth.AuditOptions{})
			return err
		},
		"audited without a sink":        func() error { _, err := auth.NewAudited(keys, nil, auth.AuditOptions{}); return err },
		"audited with a nil chain":      func() error { _, err := auth.NewAudited(keys, (*auth.Chain)(nil), auth.AuditOptions{}); return err },
		"verifier without keys":         func() error { _, err := auth.NewVerifier(nil, auth.VerifierOptions{}); return err },
		"instrumented without keys":     func() error { _, err := auth.NewInstrumented(nil, nil, nil); return err },
		"keys without a space":          func() error { auth.NewKeys(nil, nil); return nil },
		"a space without a store":       func() error { auth.OneStore(nil); return nil },
		"a chain without a store":       func() error { auth.NewChain(nil, "audit/"); return nil },
		"a sink without a logger":       func() error { auth.SlogSink(nil); return nil },
		"a sink without logs' provider": func() error { auth.OTelSink(nil); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil && !strings.HasPrefix(fmt.Sprint(p), "auth: ") {
					t.Errorf("it panics: %v", p)
				}
			}()
			want(t, name, create(), storage.InvalidArgument)
		})
	}
}

// Errors name the key, and the fault of a reason.
func TestMessages(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, _ *now) {
		ctx := t.Context()
		_, none := keys.Get(ctx, org, "none")
		for name, c := range map[string]struct {
			err  error
			want string
		}{
			"get":                  {none, `organization 7 has no key "none"`},
			"activate":             {keys.Activate(ctx, org, "none"), `organization 7 has no key "none"`},
			"a reason is no text":  {keys.Revoke(ctx, org, "none", "x\ny\xff"), `the reason "x\ny\xff" is not UTF-8`},
			"a reason is too long": {keys.Revoke(ctx, org, "none", strings.Repeat("r", 4097)), `the reason has 4097 bytes, it may have 4096`},
		} {
			if got := fmt.Sprint(c.err); got != c.want {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
	})
}

// A revocation cannot be undone by deleting the key and creating it again; one that was not
// revoked gives its kid back.
func TestRevocationIsFinal(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, _ *now) {
		ctx := t.Context()
		k, other := newKey(t, "k"), newKey(t, "other")
		want(t, "create", errors.Join(keys.Create(ctx, org, k), keys.Create(ctx, org, other)), nil)
		want(t, "revoke", keys.Revoke(ctx, org, "k", ""), nil)
		want(t, "delete", keys.Delete(ctx, org, "k"), nil)
		_, err := keys.Get(ctx, org, "k")
		want(t, "get", err, storage.NotFound)
		want(t, "create", keys.Create(ctx, org, k), storage.AlreadyExists)
		want(t, "rotate to it", keys.Rotate(ctx, org, "other", k, 0), storage.AlreadyExists)
		if got, err := keys.Get(ctx, org, "other"); err != nil || got != other {
			t.Errorf("a rotation that failed left %+v, %v", got, err)
		}
		want(t, "delete", keys.Delete(ctx, org, "other"), nil)
		want(t, "create", keys.Create(ctx, org, other), nil)
	})
}

func TestRotation(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, clock *now) {
		ctx := t.Context()
		want(t, "create", keys.Create(ctx, org, newKey(t, "1")), nil)
		want(t, "rotate to itself", keys.Rotate(ctx, org, "1", newKey(t, "1"), 0), storage.AlreadyExists)
		want(t, "a grace below zero", keys.Rotate(ctx, org, "1", newKey(t, "2"), -1), storage.InvalidArgument)
		want(t, "rotate", keys.Rotate(ctx, org, "1", newKey(t, "2"), 0), nil)
		got, err := keys.Get(ctx, org, "1")
		if err != nil || got.RevocationReason != "key rotation" || !got.RevokedAt.Equal(start) || got.Active {
			t.Errorf("%+v, %v", got, err)
		}
		want(t, "rotate to what is there", keys.Rotate(ctx, org, "2", newKey(t, "1"), 0), storage.AlreadyExists)

		// With a grace both are usable until it ends.
		want(t, "rotate with a grace", keys.Rotate(ctx, org, "2", newKey(t, "3"), time.Hour), nil)
		for at, usable := range map[time.Duration][]string{0: {"2", "3"}, time.Hour: {"2", "3"}, time.Hour + time.Millisecond: {"3"}} {
			if clock.Time = start.Add(at); !slices.Equal(kids(t, keys.ListActive(ctx, org)), usable) {
				t.Errorf("after %s: %v", at, kids(t, keys.ListActive(ctx, org)))
			}
		}
		clock.Time = start

		// What was revoked before keeps its reason, and is not rotated.
		want(t, "revoke", keys.Revoke(ctx, org, "3", "it leaked"), nil)
		want(t, "rotate what is revoked", keys.Rotate(ctx, org, "3", newKey(t, "4"), 0), auth.InvalidState)
		if got, err := keys.Get(ctx, org, "3"); err != nil || got.RevocationReason != "it leaked" {
			t.Errorf("%+v, %v", got, err)
		}
		// A key that would begin after the grace never does.
		later := newKey(t, "5")
		later.ValidFrom = start.Add(2 * time.Hour)
		want(t, "create", keys.Create(ctx, org, later), nil)
		want(t, "rotate", keys.Rotate(ctx, org, "5", newKey(t, "6"), time.Hour), nil)
		if got, err := keys.Get(ctx, org, "5"); err != nil || got.RevokedAt.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// Of many that rotate one key at once, one does, unless it is revoked first; the others get a
// conflict, and nothing is half there.
func TestRotationsAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, _ *now) {
		ctx := t.Context()
		for round := range 20 {
			old := fmt.Sprintf("old %d", round)
			want(t, "create", keys.Create(ctx, org, newKey(t, old)), nil)
			errs := make([]error, 8)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() {
					if i == 0 && round%2 == 0 {
						return
					}
					if i == 0 {
						errs[i] = keys.Revoke(ctx, org, old, "meanwhile")
						return
					}
					errs[i] = keys.Rotate(ctx, org, old, newKey(t, fmt.Sprintf("new %d %d", round, i)), time.Duration(round%4/2)*time.Hour)
				})
			}
			wg.Wait()
			want(t, "revoke", errs[0], nil)
			won := 0
			for i, err := range errs[1:] {
				_, there := keys.Get(ctx, org, fmt.Sprintf("new %d %d", round, i+1))
				if err == nil {
					won++
					want(t, "the next key", there, nil)
				} else {
					want(t, "rotate", err, storage.Conflict)
					want(t, "the next key", there, storage.NotFound)
				}
			}
			if won > 1 || won == 0 && round%2 == 0 {
				t.Errorf("round %d: %d rotations of one key", round, won)
			}
			if k, err := keys.Get(ctx, org, old); err != nil || k.RevokedAt.IsZero() && k.ValidUntil.IsZero() || round%2 == 1 && k.RevokedAt.IsZero() {
				t.Errorf("%+v, %v", k, err)
			}
		}
	})
}

func TestMany(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, _ *now) {
		ctx := t.Context()
		const n = 600
		var all []auth.PublicSigningKey
		for i := range n {
			all = append(all, newKey(t, fmt.Sprintf("%04d", i)))
		}
		all = append(all, all[3])
		for i, err := range keys.CreateMany(ctx, org, all) {
			if i < n {
				want(t, "create", err, nil)
			} else {
				want(t, "create twice", err, storage.AlreadyExists)
			}
		}
		listed := kids(t, keys.List(ctx, org))
		if len(listed) != n || !slices.IsSorted(listed) {
			t.Errorf("%d keys are listed", len(listed))
		}
		asked := []string{"0599", "none", "0000", "0599"}
		got, err := keys.GetMany(ctx, org, append(slices.Clone(asked), listed...))
		if err != nil || len(got) != len(asked)+n || got[0].Kid != "0599" || got[1] != nil || got[2].Kid != "0000" || got[3].Kid != "0599" {
			t.Errorf("%v, %v", got[:min(4, len(got))], err)
		}
		errs := keys.RevokeMany(ctx, org, []auth.Revocation{{Kid: "0001", Reason: "x"}, {Kid: "none"}, {Kid: "0002"}})
		want(t, "revoke", errs[0], nil)
		want(t, "revoke none", errs[1], storage.NotFound)
		want(t, "revoke", errs[2], nil)
		if active := kids(t, keys.ListActive(ctx, org)); len(active) != n-2 {
			t.Errorf("%d keys are usable", len(active))
		}
	})
}

func TestBadArguments(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, _ *now) {
		ctx := t.Context()
		bad := newKey(t, "k")
		bad.Kid = "a/b"
		for name, err := range map[string]error{
			"no organization":  keys.Create(ctx, 0, newKey(t, "k")),
			"a bad key":        keys.Create(ctx, org, bad),
			"a bad next key":   keys.Rotate(ctx, org, "k", bad, 0),
			"a long reason":    keys.Revoke(ctx, org, "k", strings.Repeat("x", 5000)),
			"a bad kid":        keys.Revoke(ctx, org, "../x", ""),
			"an empty kid":     keys.Delete(ctx, org, ""),
			"a long kid":       keys.Activate(ctx, org, strings.Repeat("k", 1025)),
			"an endless grace": keys.Rotate(ctx, org, "k", newKey(t, "n"), 1<<62),
		} {
			want(t, name, err, storage.InvalidArgument)
		}
		_, err := keys.GetMany(ctx, org, []string{"a", "a/b"})
		want(t, "a bad kid among good ones", err, storage.InvalidArgument)
		for _, err := range keys.List(ctx, 0) {
			want(t, "a list of no organization", err, storage.InvalidArgument)
		}
	})
}

// A record that cannot be read is an error that says which one and not what is in it. The
// others are listed, and it can be deleted; its kid stays taken.
func TestDamagedRecords(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, store *storage.Store, _ *now) {
		ctx := t.Context()
		for _, kid := range []string{"a", "b", "c"} {
			want(t, "create", keys.Create(ctx, org, newKey(t, kid)), nil)
		}
		at := []byte("org/7/signing-keys/b")
		raw, err := store.Get(ctx, at)
		want(t, "the layout", err, nil)
		for name, damage := range map[string]string{
			"a newer format": strings.Replace(string(raw), `{"kid"`, `{"v":2,"kid"`, 1),
			"cut":            string(raw[:len(raw)/2]),
			"another's":      strings.Replace(string(raw), `"kid":"b"`, `"kid":"x"`, 1),
			"empty":          "",
		} {
			want(t, "damage", store.Set(ctx, at, []byte(damage)), nil)
			_, err := keys.Get(ctx, org, "b")
			want(t, name, err, storage.Serialization)
			if err != nil && (!strings.Contains(err.Error(), `"b"`) || strings.Contains(err.Error(), "public_key\":\"")) {
				t.Errorf("%s: %v", name, err)
			}
			want(t, name, keys.Revoke(ctx, org, "b", ""), storage.Serialization)
			good, bad := 0, 0
			for _, err := range keys.List(ctx, org) {
				if err != nil {
					bad++
				} else {
					good++
				}
			}
			if good != 2 || bad != 1 {
				t.Errorf("%s: %d are listed, %d are errors", name, good, bad)
			}
		}
		want(t, "delete", keys.Delete(ctx, org, "b"), nil)
		want(t, "create", keys.Create(ctx, org, newKey(t, "b")), storage.AlreadyExists)
	})
}
