package ledger_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

func TestWholeSeconds(t *testing.T) {
	clock := storagetest.NewClock() // at 89 ms of a second
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	b := openAt(t, c, clock)
	s := storage.New(b, storage.Settings{Clock: clock.Now})
	for key, ttl := range map[string]time.Duration{"a": time.Millisecond, "b": 900 * time.Millisecond, "c": time.Minute} {
		if _, err := s.Put(t.Context(), bs(key), bs("v"), storage.WithTTL(ttl)); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range c.Stored(ledgertest.Vault) {
		if at := time.Unix(int64(e.GetExpiresAt()), 0); e.Key == "63" && (at.Before(clock.Now().Add(time.Minute)) || at.After(clock.Now().Add(61*time.Second))) {
			t.Errorf("what lives for a minute ends at %s, and it is %s", at, clock.Now())
		}
	}
	if got := keys(t, b, nil, nil); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%q are there: nothing ends before its time", got)
	}
	clock.Advance(911 * time.Millisecond)
	if got := keys(t, b, nil, nil); !slices.Equal(got, []string{"c"}) {
		t.Errorf("%q are there a second later", got)
	}
}

func TestConditionsSeeTheExpired(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.StaleConditions = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		clock := storagetest.NewClock()
		c := cluster(t, ledgertest.Options{Clock: clock.Now, Quirks: q})
		b := openAt(t, c, clock)
		s := storage.New(b, storage.Settings{Clock: clock.Now})
		expire := func() {
			t.Helper()
			if _, err := s.Put(t.Context(), bs("k"), bs("stale"), storage.WithTTL(2*time.Second)); err != nil {
				t.Fatal(err)
			}
			clock.Advance(3 * time.Second)
		}
		expire()
		writes := requests(c, "/Write")
		if _, err := s.Put(t.Context(), bs("k"), bs("new"), storage.IfAbsent()); err != nil {
			t.Fatal(err)
		}
		if n := writes.Load(); (n == 2) != on {
			t.Errorf("the insert took %d writes", n)
		}
		wantValue(t, b, "k", "new")
		if _, err := s.Put(t.Context(), bs("k"), bs("x"), storage.IfAbsent()); !errors.Is(err, storage.ErrConflict) {
			t.Error(err)
		}
		for name, e := range map[string]storage.Condition{"its value": storage.IfValue(bs("stale")), "anything": storage.IfPresent()} {
			expire()
			if _, err := s.Put(t.Context(), bs("k"), bs("x"), e); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("an expired key holds %s: %v", name, err)
			}
			if _, err := s.Remove(t.Context(), bs("k"), storage.IfAbsent()); err != nil {
				t.Error(err)
			}
		}
	})
}

// An insert over an expired record that another writer gets in front of.
func TestInsertThatLosesToAnother(t *testing.T) {
	clock := storagetest.NewClock()
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	b, other := openAt(t, c, clock), openAt(t, c, clock)
	s := storage.New(b, storage.Settings{Clock: clock.Now})
	if _, err := s.Put(t.Context(), bs("k"), bs("stale"), storage.WithTTL(time.Second)); err != nil {
		t.Fatal(err)
	}
	clock.Advance(3 * time.Second)
	reads := 0
	c.Hook(ledgertest.Hooks{After: func(_ context.Context, _ *ledgertest.Node, m string) error {
		if strings.HasSuffix(m, "/BatchRead") {
			if reads++; reads == 1 { // between the look and the second attempt
				apply(t, other, storage.Put(bs("k"), bs("theirs")))
			}
		}
		return nil
	}})
	if _, err := s.Put(t.Context(), bs("k"), bs("mine"), storage.IfAbsent()); !errors.Is(err, storage.ErrConflict) {
		t.Error(err)
	}
	wantValue(t, b, "k", "theirs")
}

func TestCollection(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.Collection = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		clock := storagetest.NewClock()
		c := cluster(t, ledgertest.Options{Clock: clock.Now, Quirks: q})
		b := openAt(t, c, clock)
		s := storage.New(b, storage.Settings{Clock: clock.Now})
		if _, err := s.Put(t.Context(), bs("k"), bs("v"), storage.WithTTL(time.Second)); err != nil {
			t.Fatal(err)
		}
		stored := func() bool {
			return slices.ContainsFunc(c.Stored(ledgertest.Vault), func(e *ledgerpb.Entity) bool { return e.Key == "6b" })
		}
		clock.Advance(30 * time.Second)
		if _, err := b.Get(t.Context(), bs("k")); !errors.Is(err, storage.ErrNotFound) || !stored() {
			t.Errorf("half a minute later: %v, still stored %t", err, stored())
		}
		clock.Advance(ledgertest.CollectEvery)
		if _, err := b.Get(t.Context(), bs("k")); !errors.Is(err, storage.ErrNotFound) || stored() == on {
			t.Errorf("after a collection: %v, still stored %t", err, stored())
		}
		if _, err := s.Put(t.Context(), bs("k"), bs("new"), storage.IfAbsent()); err != nil {
			t.Error(err)
		}
	})
}

// The record goes between the refusal of an insert and the second attempt.
func TestCollectionAmidAnInsert(t *testing.T) {
	clock := storagetest.NewClock()
	c := cluster(t, ledgertest.Options{Clock: clock.Now})
	b := openAt(t, c, clock)
	s := storage.New(b, storage.Settings{Clock: clock.Now})
	if _, err := s.Put(t.Context(), bs("k"), bs("stale"), storage.WithTTL(time.Second)); err != nil {
		t.Fatal(err)
	}
	clock.Advance(3 * time.Second)
	c.Hook(ledgertest.Hooks{After: once("/BatchRead", func(*ledgertest.Node) error { clock.Advance(ledgertest.CollectEvery); return nil })})
	if _, err := s.Put(t.Context(), bs("k"), bs("new"), storage.IfAbsent()); err != nil {
		t.Error(err)
	}
	wantValue(t, b, "k", "new")
}
