package storagetest

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func restartChecks() []Check {
	return in("restart",
		is("state_is_kept_or_known_to_be_lost", 0, func(t *T) {
			t.setAll("a", "b", "c")
			t.del("b")
			before := t.b.Info()
			t.restart()
			after := t.b.Info()
			same := before.Incarnation == after.Incarnation
			if t.has(storage.CapDurable) && !same {
				t.Errorf("the incarnation changed, and nothing was lost")
			}
			if same { // with another one, anything may be gone
				t.wantKeys(nil, nil, "a", "c")
			}
		}),
		is("capabilities_stay", 0, func(t *T) {
			before := t.b.Info()
			t.restart()
			after := t.b.Info()
			if before.Caps != after.Caps || before.Limits != after.Limits || before.Name != after.Name {
				t.Errorf("a restart made %+v of %+v", after, before)
			}
		}),
		is("versions_stay", storage.CapDurable|storage.CapVersions, func(t *T) {
			t.setAll("a", "b")
			v := t.item("a").Version
			t.restart()
			if got := t.item("a").Version; got != v {
				t.Errorf("version %d became %d", v, got)
			}
			t.must(errOf(t.s.Put(t.ctx, bs("a"), bs("x"), storage.IfVersion(v))))
		}),
		is("expiry_stays", storage.CapDurable|storage.CapTTL, func(t *T) {
			t.setTTL("k", "v", time.Minute)
			t.setTTL("gone meanwhile", "v", time.Second)
			t.restart()
			t.wantValue("k", "v")
			t.wantAbsent("gone meanwhile")
			t.clock.Advance(time.Minute)
			t.wantAbsent("k")
		}),
		is("acknowledged_writes_survive_a_crash", storage.CapDurable, survivesACrash),
		is("many_keys_stay", storage.CapDurable, func(t *T) {
			for i := range 500 {
				t.set(fmt.Sprintf("%03d", i), fmt.Sprint(i))
			}
			t.clear(bs("100"), bs("200"))
			t.restart()
			t.wantItems("what is left", t.all(storage.Query{}), slices.Delete(numbered("%03d", 500), 100, 200))
			t.wantValue("499", "499")
		}),
	)
}

// survivesACrash crashes the backend amid writers, again and again: what was
// acknowledged is there, what was not is there whole or not at all.
func survivesACrash(t *T) {
	if t.factory.Crash == nil {
		t.notApplicable("the factory cannot crash the backend")
	}
	const writers, rounds = 4, 5
	var acknowledged, tried [writers]int
	for range rounds {
		var crashed atomic.Bool
		var done [writers]atomic.Int32
		var next storage.Backend
		var err error
		t.parallel(writers+1, func(i int) {
			if i == writers {
				for i := range done { // every writer has written
					for done[i].Load() < 5 && !t.Failed() {
						runtime.Gosched()
					}
				}
				crashed.Store(true)
				next, err = t.factory.Crash(t.ctx)
				return
			}
			for !crashed.Load() {
				tried[i]++
				_, err := t.b.Apply(t.ctx, crashWrite(i, tried[i], t.has(storage.CapAtomic)))
				if crashed.Load() {
					return // what it returns now is about a backend that is no more
				}
				t.must(err)
				acknowledged[i] = tried[i]
				done[i].Add(1)
			}
		})
		t.forget() // it crashed: there is nothing to close
		t.use(next, err)
		for i := range writers {
			t.wantCrashWrites(i, acknowledged[i], tried[i])
		}
	}
}

// crashWrite returns the nth write of a writer: one key or two, that say n.
func crashWrite(writer, n int, both bool) *storage.WriteSet {
	w := &storage.WriteSet{Ops: []storage.Op{storage.Put(fmt.Appendf(nil, "a%d", writer), fmt.Append(nil, n))}}
	if both {
		w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "b%d", writer), fmt.Append(nil, n)))
	}
	return w
}

func (t *T) wantCrashWrites(writer, acknowledged, tried int) {
	a, err := number(t.s.Get(t.ctx, fmt.Appendf(nil, "a%d", writer)))
	t.must(err)
	if a < acknowledged || a > tried {
		t.Errorf("writer %d: write %d was acknowledged, %d was the last tried, and %d exists", writer, acknowledged, tried, a)
	}
	if b, err := number(t.s.Get(t.ctx, fmt.Appendf(nil, "b%d", writer))); t.has(storage.CapAtomic) && (err != nil || a != b) {
		t.Errorf("writer %d: half of a write set exists: %d and %d, %v", writer, a, b, err)
	}
}
