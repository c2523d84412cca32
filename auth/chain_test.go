package auth_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// event is the nth of a test.
func event(n int) auth.Event {
	e := auth.Event{Time: start, Actor: "ada", Action: auth.DeleteKey, Organization: 1 << 63, Kid: fmt.Sprint("k", n/2), Operation: fmt.Sprint("op", n/2),
		Result: auth.Intent, Metadata: map[string]string{"b": "<2>", "a": "1"}}
	if n%2 == 1 {
		e.Result = auth.Success
	}
	return e
}

// logged is a chain of n events in a store.
func logged(t *testing.T, store *storage.Store, n int) *auth.Chain {
	t.Helper()
	c := auth.NewChain(store, "audit/")
	for i := range n {
		want(t, "record", c.Record(t.Context(), event(i)), nil)
	}
	return c
}

func verified(t *testing.T, c *auth.Chain, known string) auth.Report {
	t.Helper()
	r, err := c.Verify(t.Context(), known)
	want(t, "verify", err, nil)
	return r
}

func TestChain(t *testing.T) {
	onEach(t, func(t *testing.T, _ *auth.Keys, store *storage.Store, _ *now) {
		_, err := auth.NewChain(store, "audit/").Verify(t.Context(), "")
		want(t, "verify no log", err, storage.NotFound)
		c := logged(t, store, 301)
		r := verified(t, c, "")
		if r.Entries != 301 || len(r.Faults) > 0 || r.Head == "" || !slices.Equal(r.Open, []uint64{301}) {
			t.Errorf("%+v", r)
		}
		n := 0
		for e, err := range c.Entries(t.Context(), 100) {
			w := event(99 + n)
			if n++; err != nil || e.Sequence != uint64(99+n) || e.Kid != w.Kid || e.Result != w.Result || e.Organization != w.Organization || e.Metadata["b"] != "<2>" || !e.Time.Equal(start) {
				t.Fatalf("%+v, %v", e, err)
			}
		}
		if n != 202 {
			t.Errorf("%d entries from the 100th on", n)
		}
		want(t, "record", c.Record(t.Context(), event(301)), nil)
		if now := verified(t, c, r.Head); len(now.Faults) > 0 || now.Entries != 302 || len(now.Open) > 0 {
			t.Errorf("with the head as it was: %+v", now)
		}
	})
}

// Whatever is done to the chain behind its back is seen.
func TestChainIsTamperEvident(t *testing.T) {
	entry := func(n int) []byte { return fmt.Appendf(nil, "audit/entry/%020d", n) }
	onEach(t, func(t *testing.T, _ *auth.Keys, store *storage.Store, _ *now) {
		ctx := t.Context()
		c := logged(t, store, 20)
		known := verified(t, c, "").Head
		var kept []storage.Item
		for it, err := range store.Prefix(ctx, []byte("audit/"), storage.RangeOptions{}) {
			want(t, "read", err, nil)
			kept = append(kept, it)
		}
		get := func(n int) []byte {
			raw, err := store.Get(ctx, entry(n))
			want(t, "get", err, nil)
			return raw
		}
		set := func(key, value []byte) { want(t, "set", store.Set(ctx, key, value), nil) }
		for name, tamper := range map[string]func(){
			"an actor is changed":  func() { set(entry(7), bytes.Replace(get(7), []byte("ada"), []byte("eve"), 1)) },
			"the last is changed":  func() { set(entry(20), bytes.Replace(get(20), []byte("ada"), []byte("eve"), 1)) },
			"one is removed":       func() { want(t, "", store.Delete(ctx, entry(7)), nil) },
			"the first is removed": func() { want(t, "", store.Delete(ctx, entry(1)), nil) },
			"the last is removed":  func() { want(t, "", store.Delete(ctx, entry(20)), nil) },
			"two are swapped":      func() { a, b := get(7), get(9); set(entry(7), b); set(entry(9), a) },
			"one is put twice":     func() { set(entry(8), get(7)) },
			"one is put behind":    func() { set(entry(21), bytes.Replace(get(20), []byte(`"sequence":20`), []byte(`"sequence":21`), 1)) },
			"one is forged behind": func() {
				sum := sha256.Sum256(get(20))
				_, hash, _ := bytes.Cut(get(20), []byte(`"previous":"`))
				forged := bytes.Replace(get(20), []byte(`"sequence":20`), []byte(`"sequence":21`), 1)
				set(entry(21), bytes.Replace(forged, hash[:64], fmt.Appendf(nil, "%x", sum), 1))
			},
			"one is no entry":          func() { set(entry(7), []byte("{}")) },
			"one is of a newer format": func() { set(entry(7), bytes.Replace(get(7), []byte(`{`), []byte(`{"v":2,`), 1)) },
			"the head is another":      func() { set([]byte("audit/head"), []byte(`{"sequence":19,"hash":"00"}`)) },
			"the head is gone": func() {
				want(t, "", store.Delete(ctx, []byte("audit/head")), nil)
				want(t, "", store.Delete(ctx, entry(20)), nil)
			},
			"the head is no head": func() { set([]byte("audit/head"), []byte(`x`)) },
			"all is new": func() {
				_, err := store.ClearRange(ctx, []byte("audit/"), nil)
				want(t, "", err, nil)
				logged(t, store, 19)
			},
			"all is gone": func() { _, err := store.ClearRange(ctx, []byte("audit/"), nil); want(t, "", err, nil) },
		} {
			tamper()
			if r := verified(t, c, known); len(r.Faults) == 0 {
				t.Errorf("%s: nothing is found: %+v", name, r)
			}
			_, err := store.ClearRange(ctx, []byte("audit/"), nil)
			want(t, "clear", err, nil)
			for _, it := range kept {
				set(it.Key, it.Value)
			}
			if r := verified(t, c, known); len(r.Faults) > 0 {
				t.Fatalf("as it was: %+v", r)
			}
		}
	})
}

// A log without a known entry that was removed entirely is no verified log.
func TestVerifyOfALogThatIsGone(t *testing.T) {
	onEach(t, func(t *testing.T, _ *auth.Keys, store *storage.Store, _ *now) {
		c := logged(t, store, 3)
		known := verified(t, c, "").Head
		_, err := auth.NewChain(store, "audi/").Verify(t.Context(), "")
		want(t, "another prefix", err, storage.NotFound)
		_, err = store.ClearRange(t.Context(), []byte("audit/entry/"), []byte("audit/entry0"))
		want(t, "clear", err, nil)
		if r := verified(t, c, ""); len(r.Faults) == 0 {
			t.Errorf("a head alone: %+v", r)
		}
		want(t, "delete", store.Delete(t.Context(), []byte("audit/head")), nil)
		_, err = c.Verify(t.Context(), "")
		want(t, "a log that is gone", err, storage.NotFound)
		if r := verified(t, c, known); len(r.Faults) != 1 || !strings.Contains(r.Faults[0], `no audit log at "audit/"`) {
			t.Errorf("a log that is gone, with a known entry: %+v", r)
		}
	})
}

// unnamed is a backend whose conflicts do not name the check that failed.
type unnamed struct{ storage.Backend }

func (u unnamed) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	r, err := u.Backend.Apply(ctx, w)
	if e := storage.AsError(err); e != nil {
		e.Check = 0
	}
	return r, err
}

// A log whose head is missing or wrong takes no event, and says why at once.
func TestChainWithDamagedHead(t *testing.T) {
	clock := &now{start}
	all := backends(clock)
	all["unnamed"] = unnamed{storagetest.NewModel(clock.get, storagetest.ModelInfo())}
	for backend, b := range all {
		store := storage.New(b, storage.Settings{Clock: clock.get})
		t.Cleanup(func() { store.Close(context.Background()) })
		for _, c := range []struct{ name, head, want string }{
			{"missing", "", "is missing, and entry 1 exists"},
			{"no JSON", "x", "is damaged"},
			{"empty", "{}", "names entry 0 as the last one, and entry 1 exists"},
			{"behind", `{"sequence":2,"hash":"00"}`, "names entry 2 as the last one, and entry 3 exists"},
		} {
			t.Run(backend+"/"+c.name, func(t *testing.T) {
				_, err := store.ClearRange(t.Context(), []byte("audit/"), nil)
				want(t, "clear", err, nil)
				log := logged(t, store, 4)
				if c.head == "" {
					want(t, "delete", store.Delete(t.Context(), []byte("audit/head")), nil)
				} else {
					want(t, "set", store.Set(t.Context(), []byte("audit/head"), []byte(c.head)), nil)
				}
				a := audited(t, auth.NewKeys(auth.OneStore(store), nil), log, auth.AuditOptions{Log: slog.New(slog.DiscardHandler)})
				err = a.Create(t.Context(), org, newKey(t, "k"))
				want(t, "create", err, storage.Unavailable)
				if text := fmt.Sprint(err); !errors.Is(err, auth.DamagedHead) || !strings.Contains(text, `the head of the audit log at "audit/" `+c.want) {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// Hosts that add to one log at once make one chain.
func TestChainOfSeveralHosts(t *testing.T) {
	onEach(t, func(t *testing.T, _ *auth.Keys, store *storage.Store, _ *now) {
		const hosts, each = 3, 20
		var wg sync.WaitGroup
		for range hosts {
			c := auth.NewChain(store, "audit/")
			for range 2 {
				wg.Go(func() {
					for i := range each {
						want(t, "record", again(t, func() error { return c.Record(t.Context(), event(2*i+1)) }), nil)
					}
				})
			}
		}
		wg.Wait()
		if r := verified(t, auth.NewChain(store, "audit/"), ""); len(r.Faults) > 0 || r.Entries != hosts*2*each {
			t.Errorf("%+v", r)
		}
	})
}

// again repeats what conflicts kept from being done.
func again(t *testing.T, do func() error) (err error) {
	for range 100 {
		if err = do(); storage.CodeOf(err) != storage.RetriesExhausted {
			return err
		}
	}
	return err
}

// A write whose answer is lost is looked for: every event that was acknowledged is there
// once, whether the write was done or not.
func TestChainWithLostAnswers(t *testing.T) {
	clock := &now{start}
	faults := storagetest.NewFaults(storagetest.NewModel(clock.get, storagetest.ModelInfo()))
	store := storage.New(faults, storage.Settings{Clock: clock.get})
	defer store.Close(context.Background())
	c := auth.NewChain(store, "audit/")
	done := uint64(0)
	for i := range 60 {
		applied := i%3 != 0
		faults.Set(storagetest.Fault{Calls: []storagetest.Call{storagetest.CallApply}, Err: storage.ErrOutcomeUnknown, Applied: applied})
		err := c.Record(t.Context(), event(2*i+1))
		if applied {
			want(t, "applied", err, nil)
			done++
		} else {
			want(t, "not applied", err, storage.OutcomeUnknown)
		}
	}
	if r := verified(t, c, ""); len(r.Faults) > 0 || r.Entries != done {
		t.Errorf("%d were acknowledged: %+v", done, r)
	}
}
