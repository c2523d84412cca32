package wasmhost_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// A module with changes of its own answers at once, and the host waits in its place: a
// follower hears of a write through this host without delay, and nothing is lost or repeated.
func TestChangesOfAModule(t *testing.T) {
	m, _ := goGuest(t, wasmhost.Options{Memory: 64 << 20})
	b := openModule(t, m, `{"changes": "right"}`)
	put := func(key string) {
		t.Helper()
		if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(key), nil)}}); err != nil {
			t.Fatal(err)
		}
	}
	put("before")
	now, err := b.Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	if err != nil || now.Next != 1 {
		t.Fatalf("%+v, %v", now, err)
	}
	began := time.Now()
	if page, err := b.Changes(t.Context(), storage.ChangeQuery{After: 1, Wait: 50 * time.Millisecond}); err != nil || len(page.Changes) > 0 || time.Since(began) < 50*time.Millisecond {
		t.Errorf("nothing comes: %+v, %v, after %s", page, err, time.Since(began))
	}
	const n = 50
	var following sync.WaitGroup
	for range 10 {
		following.Go(func() {
			seen := uint64(1)
			for q := (storage.ChangeQuery{After: 1, Wait: 10 * time.Second, Limit: 7}); seen < n+1; {
				page, err := b.Changes(t.Context(), q)
				if err != nil || len(page.Changes) == 0 {
					t.Errorf("after %d: %+v, %v", q.After, page, err)
					return
				}
				for _, c := range page.Changes {
					if seen++; c.Version != seen || c.Kind != storage.ChangePut {
						t.Errorf("after %d it is %+v", seen-1, c)
					}
				}
				q.After = page.Next
			}
		})
	}
	for range n {
		put("k")
		time.Sleep(time.Millisecond)
	}
	wrote := time.Now()
	following.Wait()
	if late := time.Since(wrote); late > 500*time.Millisecond { // without writes here it is asked once a second
		t.Errorf("the last change is given %s after it was made", late)
	}
	if _, err := b.Changes(t.Context(), storage.ChangeQuery{After: n + 2, Wait: time.Minute}); !errors.Is(err, storage.ErrVersionGone) {
		t.Errorf("of the future: %v", err)
	}
}

// An impossible answer of a module is an error that says so, and no endless loop.
func TestChangesOfAModuleThatCannotBe(t *testing.T) {
	m, _ := goGuest(t, wasmhost.Options{Memory: 64 << 20})
	for kind, says := range map[string]string{"back": "it would go back from version 2 to 1", "unordered": "a change at version 1 between 2 and 2", "": "unsupported"} {
		b := openModule(t, m, `{"changes": "`+kind+`"}`)
		for range 2 {
			if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("done"), nil)}}); err != nil {
				t.Fatal(err)
			}
		}
		q := storage.ChangeQuery{After: 2, Wait: time.Minute}
		if kind == "unordered" {
			q.After = 0
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if page, err := b.Changes(ctx, q); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %+v, %v", kind, page, err)
		}
	}
}
