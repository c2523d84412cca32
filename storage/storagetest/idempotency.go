package storagetest

import (
	"encoding/binary"
	"flag"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func idempotencyChecks() []Check {
	checks := in("idempotency",
		is("a_repeat_is_harmless", 0, func(t *T) {
			w := t.identified(1, storage.Put(bs("k"), bs("v")))
			first, err := t.b.Apply(t.ctx, w)
			t.must(err)
			t.set("k", "later")
			t.repeats(w, first)
			t.wantValue("k", "later")
			t.del("k")
			t.repeats(w, first)
			t.wantAbsent("k")
		}),
		is("its_checks_are_not_judged_again", 0, func(t *T) {
			w := t.identified(1, storage.Put(bs("k"), bs("v")))
			w.Checks = []storage.Check{storage.Absent(bs("k"))}
			first, err := t.b.Apply(t.ctx, w)
			t.must(err)
			t.repeats(w, first)
			t.wantValue("k", "v")
		}),
		is("a_refusal_is_not_remembered", 0, func(t *T) {
			w := t.identified(1, storage.Put(bs("k"), bs("v")))
			w.Checks = []storage.Check{storage.Present(bs("k"))}
			_, err := t.b.Apply(t.ctx, w)
			t.wantCode(err, storage.Conflict)
			t.set("k", "there")
			_, err = t.b.Apply(t.ctx, w)
			t.must(err)
			t.wantValue("k", "v")
		}),
		is("what_changed_nothing_is_remembered", 0, func(t *T) {
			w := t.identified(1, storage.Delete(bs("k")))
			first, err := t.b.Apply(t.ctx, w)
			t.must(err)
			t.set("k", "v")
			t.repeats(w, first)
			t.wantValue("k", "v")
		}),
		is("every_byte_of_an_id_counts", 0, everyByteOfAnID),
		is("another_content_is_refused", 0, anotherContent),
		is("without_an_id_nothing_is_remembered", 0, func(t *T) {
			w := t.identified(0, storage.Put(bs("k"), bs("v")))
			_, err := t.b.Apply(t.ctx, w)
			t.must(err)
			t.del("k")
			_, err = t.b.Apply(t.ctx, w)
			t.must(err)
			t.wantValue("k", "v")
			t.must(t.try(nil, storage.Put(bs("other"), nil)))
		}),
		is("repeats_at_once", 0, func(t *T) {
			for round := range 20 {
				w := t.identified(uint64(round)+1, storage.Put(bs("k"), bs("v")))
				w.Checks = []storage.Check{storage.Absent(bs("k"))} // so that two cannot both be done
				var mu sync.Mutex
				versions := map[uint64]int{}
				t.parallel(8, func(int) {
					own := *w
					v, err := t.b.Apply(t.ctx, &own)
					t.must(err)
					mu.Lock()
					defer mu.Unlock()
					versions[v]++
				})
				if len(versions) != 1 {
					t.Fatalf("repeats at once got %d versions", len(versions))
				}
				t.del("k")
			}
		}),
		is("remembered_as_long_as_info_says", 0, remembered),
		alone(is("remembered_over_a_restart", storage.CapDurable, func(t *T) {
			w := t.identified(1, storage.Put(bs("k"), bs("v")))
			first, err := t.b.Apply(t.ctx, w)
			t.must(err)
			t.set("k", "later")
			t.restart()
			t.repeats(w, first)
			t.wantValue("k", "later")
		})),
	)
	for i := range checks {
		checks[i].Needs |= storage.CapIdempotent
	}
	return checks
}

// identified returns a write set with an ID that no other check has.
func (t *T) identified(id uint64, ops ...storage.Op) *storage.WriteSet {
	w := &storage.WriteSet{Ops: ops}
	if id != 0 {
		binary.BigEndian.PutUint64(w.ID[:], t.number)
		binary.BigEndian.PutUint64(w.ID[8:], id)
	}
	return w
}

// repeats demands that w returns what it did first.
func (t *T) repeats(w *storage.WriteSet, first uint64) {
	own := *w
	if v, err := t.b.Apply(t.ctx, &own); err != nil || v != first {
		t.Fatalf("a repeat answers version %d, %v; the first time it was %d", v, err, first)
	}
}

// anotherContent changes each part of a write set under its ID.
func anotherContent(t *T) {
	at := t.clock.Now().Add(time.Hour)
	make := func() *storage.WriteSet {
		w := t.identified(1, storage.Put(bs("k"), bs("v")), storage.DeleteRange(bs("a"), bs("b")))
		w.Checks = []storage.Check{storage.Absent(bs("k")), {Kind: storage.CheckRange, Key: bs("x"), Version: 1}}
		if !t.has(storage.CapAtomic) {
			w.Ops = w.Ops[:1]
		}
		if !t.has(storage.CapRangeCheck) {
			w.Checks = w.Checks[:1]
		}
		return w
	}
	first, err := t.b.Apply(t.ctx, make())
	t.must(err)
	for name, change := range map[string]func(*storage.WriteSet){
		"key":      func(w *storage.WriteSet) { w.Ops[0].Key, w.Checks[0].Key = bs("l"), bs("l") },
		"value":    func(w *storage.WriteSet) { w.Ops[0].Value = bs("w") },
		"boundary": func(w *storage.WriteSet) { w.Ops[0].Key, w.Ops[0].Value = bs("kv"), nil; w.Checks[0].Key = bs("kv") },
		"order": func(w *storage.WriteSet) {
			if slices.Reverse(w.Ops); len(w.Ops) == 1 {
				w.Ops[0].Value = bs("x")
			}
		},
		"kind":           func(w *storage.WriteSet) { w.Ops[0] = storage.Delete(bs("k")) },
		"no check":       func(w *storage.WriteSet) { w.Checks = w.Checks[:0] },
		"kind of check":  func(w *storage.WriteSet) { w.Checks[0].Kind = storage.CheckPresent },
		"value of check": func(w *storage.WriteSet) { w.Checks[0].Kind, w.Checks[0].Value = storage.CheckValue, bs("v") },
		"no ops":         func(w *storage.WriteSet) { w.Ops = w.Ops[:0] },
		"expiry": func(w *storage.WriteSet) {
			if w.Ops[0].ExpiresAt = at; !t.has(storage.CapTTL) {
				w.Ops[0].Value = bs("x")
			}
		},
		"end": func(w *storage.WriteSet) {
			if w.Ops[len(w.Ops)-1].End = nil; len(w.Ops) == 1 {
				w.Ops[0].Value = bs("x")
			}
		},
		"range of a check": func(w *storage.WriteSet) {
			if w.Checks[len(w.Checks)-1].Version = 2; len(w.Checks) == 1 {
				w.Ops[0].Value = bs("x")
			}
		},
	} {
		if !t.has(storage.CapCheckOnly) && (name == "no ops" || name == "boundary") {
			continue // refused for another reason
		}
		w := make()
		change(w)
		if _, err := t.b.Apply(t.ctx, w); storage.CodeOf(err) != storage.InvalidArgument {
			t.Errorf("the ID again with another %s: %v, want %s", name, err, storage.InvalidArgument)
		}
		t.wantKeys(nil, nil, "k")
		t.wantValue("k", "v")
	}
	t.repeats(make(), first)
}

// remembered goes to the ends of the window, in number and in time; with -short not
// to the end of a large number.
func remembered(t *T) {
	w := t.identified(1, storage.Put(bs("k"), bs("v")))
	first, err := t.b.Apply(t.ctx, w)
	t.must(err)
	t.set("k", "later")
	most := 1 << 16
	if testing.Testing() && flag.Parsed() && testing.Short() {
		most = 5000
	}
	others := tryable(min(t.info.Limits.IDCount, most), 1000) - 2 // but w and what was set: a layer may have given that an ID
	var next atomic.Int64
	t.parallel(16, func(int) { // alone, each waits for the way there and back
		for i := next.Add(1); i <= int64(others); i = next.Add(1) {
			if _, err := t.b.Apply(t.ctx, t.identified(uint64(i)+1, storage.Put(bs("x"), nil))); err != nil {
				t.Fatalf("write %d: %v", i, err)
			}
		}
	})
	if window := t.info.Limits.IDWindow; window > 0 {
		t.clock.Advance(window - t.step())
	} else {
		t.clock.Advance(10 * time.Minute)
	}
	t.repeats(w, first)
	t.wantValue("k", "later")
}
