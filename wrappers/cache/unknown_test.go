package cache_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers/cache"
)

// A conflict in Update takes out what was read, so that the next attempt sees what
// it lost to.
func TestConflictInUpdate(t *testing.T) {
	b := setUp(t, nil)
	b.set("1")
	b.sees("1")
	attempts := 0
	err := b.Update(ctx, func(tx *storage.Txn) error {
		v, err := tx.Get(ctx, key)
		if err != nil {
			return err
		}
		if attempts++; attempts == 1 { // another writer, past this host
			if _, err := b.below.Backend.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte("5"))}}); err != nil {
				return err
			}
		}
		return tx.Set(ctx, []byte("copy"), v) // the key itself is only read
	})
	if err != nil || attempts != 2 {
		t.Fatalf("%v after %d attempts", err, attempts)
	}
	if v, err := b.Get(ctx, []byte("copy")); err != nil || string(v) != "5" {
		t.Fatalf("%q, %v", v, err)
	}
}

// After an unknown outcome the keys are not kept while the backend may still be
// working on them.
func TestOutcomeUnknown(t *testing.T) {
	for _, kind := range []string{"key", "range"} {
		t.Run(kind, func(t *testing.T) {
			b := setUp(t, func(c *cache.Config) { c.UnknownHold = time.Minute })
			b.set("old")
			b.sees("old")
			b.below.beforeApply = func(err *error) {
				*err = &storage.Error{Code: storage.OutcomeUnknown, Unknown: true}
			}
			w := &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte("late"))}}
			if kind == "range" {
				w.Ops = []storage.Op{storage.DeleteRange([]byte("a"), nil)}
			}
			if _, err := b.Apply(ctx, w); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Fatal(err)
			}
			b.below.beforeApply = nil
			b.sees("old")
			b.cached(false)
			if _, err := b.below.Backend.Apply(ctx, w); err != nil { // it comes through after all
				t.Fatal(err)
			}
			want := "late"
			if kind == "range" {
				want = ""
			}
			b.sees(want)
			b.cached(false)
			b.advance(time.Minute)
			b.sees(want)
			b.cached(true)
		})
	}
}

// Too many keys of unknown outcome count as all.
func TestManyUnknown(t *testing.T) {
	b := setUp(t, nil)
	b.set("v")
	b.below.beforeApply = func(err *error) { *err = &storage.Error{Code: storage.OutcomeUnknown, Unknown: true} }
	for set := range 4 {
		w := &storage.WriteSet{}
		for i := range 1<<14 + 1 {
			w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "many%d/%d", set, i), nil))
		}
		b.Apply(ctx, w)
	}
	b.cached(false)
	b.cached(false)
	b.advance(time.Minute)
	b.sees("v")
	b.cached(true)
}

// A backend whose answers are all lost, for however long and while nobody reads,
// has the cache grow no more than that.
func TestUnknownIsBounded(t *testing.T) {
	b := setUp(t, nil)
	b.below.beforeApply = func(err *error) { *err = &storage.Error{Code: storage.OutcomeUnknown, Unknown: true} }
	most := 0
	for set := range 300 {
		w := &storage.WriteSet{}
		for i := range 1000 {
			w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "%d/%d", set, i), nil))
		}
		for range 50 {
			b.Apply(ctx, &storage.WriteSet{Ops: w.Ops[:1]})
		}
		b.Apply(ctx, w)
		most = max(most, b.cache.Held())
		if set%100 == 99 { // some of it is over
			b.advance(time.Minute)
		}
	}
	if most > 1<<17 {
		t.Errorf("%d keys are held at once", most)
	}
	b.advance(time.Minute)
	b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("one"), nil)}})
	if left := b.cache.Held(); left != 2 {
		t.Errorf("%d are still held, want the last", left)
	}
}

// A write through one store reaches the cache of another store over the same
// backend, also one that was built while the write was under way.
func TestTwoStoresOnOneBackend(t *testing.T) {
	b := setUp(t, nil)
	plain := storage.New(b.hub.Backend(), storage.Settings{Clock: b.clock})
	b.set("old")
	b.sees("old")
	b.cached(true)
	var late *storage.Store
	b.below.beforeApply = func(*error) {
		late = storage.New(b.over(nil), storage.Settings{Clock: b.clock})
		late.Get(ctx, key)
	}
	if err := plain.Set(ctx, key, []byte("new")); err != nil {
		t.Fatal(err)
	}
	b.sees("new")
	if got, err := late.Get(ctx, key); err != nil || string(got) != "new" {
		t.Fatalf("the store that came in between sees %q, %v", got, err)
	}
}

// A backend that has lost its state takes the cache along.
func TestLostState(t *testing.T) {
	b := setUp(t, nil)
	b.set("v")
	b.sees("v")
	b.cached(true)
	if _, err := b.below.Backend.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Delete(key)}}); err != nil {
		t.Fatal(err)
	}
	b.below.incarnation = 1
	b.Get(ctx, []byte("another")) // a call after the restart
	b.sees("")
}
