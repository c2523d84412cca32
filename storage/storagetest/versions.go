package storagetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func versionChecks() []Check {
	checks := in("versions",
		is("each_change_gets_a_greater_one", 0, func(t *T) {
			last := t.scan(storage.Query{}).Version
			for i, o := range []storage.Op{storage.Put(bs("a"), bs("1")), storage.Put(bs("a"), bs("1")), storage.Put(bs("b"), nil),
				storage.Delete(bs("a")), storage.Put(bs("a"), bs("1")), storage.DeleteRange(bs("a"), bs("b"))} {
				v := t.apply(o)
				if v <= last {
					t.Errorf("write %d got version %d after %d", i, v, last)
				}
				if o.Kind == storage.OpPut && t.item(string(o.Key)).Version != v {
					t.Errorf("write %d got version %d, its item has %d", i, v, t.item(string(o.Key)).Version)
				}
				last = v
			}
			if b := t.item("b"); b.Version >= last {
				t.Errorf("an untouched item moved to version %d", b.Version)
			}
		}),
		is("one_write_set_has_one", storage.CapAtomic, func(t *T) {
			t.setAll("a", "x")
			v := t.apply(storage.Put(bs("a"), nil), storage.Put(bs("b"), nil), storage.Delete(bs("x")), storage.Put(bs("c"), nil))
			for _, k := range []string{"a", "b", "c"} {
				if it := t.item(k); it.Version != v {
					t.Errorf("%s is at version %d, the write set at %d", k, it.Version, v)
				}
			}
		}),
		is("put_and_delete_at_once_are_a_change", storage.CapAtomic, putThenDelete),
		is("what_changes_nothing_answers_the_current", 0, func(t *T) {
			t.set("k", "v")
			now := t.item("k").Version
			for _, w := range []storage.WriteSet{
				{}, {Ops: []storage.Op{storage.Delete(bs("absent"))}}, {Ops: []storage.Op{storage.DeleteRange(bs("x"), bs("y"))}},
				{Ops: []storage.Op{storage.DeleteRange(bs("y"), bs("a"))}},
				{Checks: []storage.Check{storage.Absent(bs("absent"))}, Ops: []storage.Op{storage.Delete(bs("absent"))}},
			} {
				if v, err := t.b.Apply(t.ctx, &w); err != nil || v != now {
					t.Errorf("%s: version %d, %v, want the current %d", showOps(w.Ops), v, err, now)
				}
			}
			if v := t.scan(storage.Query{}).Version; v != now {
				t.Errorf("a page says version %d, want %d", v, now)
			}
		}),
		is("what_has_expired_is_no_change", storage.CapTTL, func(t *T) {
			for i := range 60 {
				t.setTTL(fmt.Sprintf("%02d", i), "v", time.Minute)
			}
			now := t.item("59").Version
			t.clock.Advance(time.Minute)
			for _, o := range []storage.Op{storage.Delete(bs("59")), storage.PutUntil(bs("58"), nil, t.clock.Now()), storage.DeleteRange(bs("40"), bs("50"))} {
				if v := t.apply(o); v != now {
					t.Errorf("%s, of what has expired, went from version %d to %d", showOps([]storage.Op{o}), now, v)
				}
			}
			if v := t.scan(storage.Query{}).Version; v != now {
				t.Errorf("a page says version %d, want %d", v, now)
			}
		}),
		is("a_refused_write_set_takes_none", 0, func(t *T) {
			t.set("k", "v")
			now := t.scan(storage.Query{}).Version
			t.wantConflict(0, []storage.Check{storage.Absent(bs("k"))}, storage.Put(bs("k"), nil))
			if page := t.scan(storage.Query{}); page.Version != now || page.Items[0].Version != now {
				t.Errorf("a conflict moved the version from %d to %d", now, page.Version)
			}
		}),
		is("pages_say_theirs", 0, func(t *T) {
			for _, k := range []string{"a", "b", "c"} {
				v := t.apply(storage.Put(bs(k), nil))
				for _, q := range []storage.Query{{}, {Limit: 1}, {Start: bs("x")}, {Start: bs("b"), End: bs("a")}, {KeysOnly: true}} {
					if page := t.scan(q); page.Version != v {
						t.Errorf("scan %s says version %d, want %d", showQuery(q), page.Version, v)
					}
				}
			}
			v := t.apply(storage.Delete(bs("c")))
			if page := t.scan(storage.Query{}); page.Version != v {
				t.Errorf("after a delete a page says version %d, want %d", page.Version, v)
			}
		}),
		is("never_repeat_over_delete_and_recreate", 0, func(t *T) {
			seen := map[uint64]bool{}
			for range 50 {
				t.set("k", "v")
				if v := t.item("k").Version; v == 0 || seen[v] {
					t.Fatalf("version %d has been there before", v)
				} else {
					seen[v] = true
				}
				t.del("k")
				seen[t.scan(storage.Query{}).Version] = true
			}
		}),
		alone(is("never_repeat_over_restarts", 0, func(t *T) {
			var last uint64
			for range 4 {
				for range 100 {
					t.set("k", "v")
				}
				v := t.item("k").Version
				if v <= last {
					t.Fatalf("version %d after a restart, %d before", v, last)
				}
				last = v
				t.restart()
			}
			t.wantCode(errOf(t.s.Put(t.ctx, bs("new"), nil, storage.IfVersion(last))), storage.Conflict)
			if v := t.scan(storage.Query{}).Version; v < last {
				t.Errorf("version %d after a restart, %d before", v, last)
			}
		})),
		is("unique_among_concurrent_writers", 0, uniqueVersions),
	)
	for i := range checks {
		checks[i].Needs |= storage.CapVersions
	}
	return checks
}

// uniqueVersions has writers share keys. Writes of several callers may be merged
// on their way and have one version together, but never those of one key.
func uniqueVersions(t *T) {
	const writers, writes = 8, 100
	type write struct {
		key     byte
		version uint64
	}
	var mu sync.Mutex
	seen := map[write]bool{}
	t.parallel(writers, func(i int) {
		var last uint64
		for range writes {
			key := byte('a' + i/2)
			v, err := t.b.Apply(t.ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte{key}, nil)}})
			t.must(err)
			it, err := t.b.Get(t.ctx, []byte{key})
			t.must(err)
			if v <= last || it.Version < v {
				t.Fatalf("version %d after %d, the item has %d", v, last, it.Version)
			}
			last = v
			mu.Lock()
			if seen[write{key, v}] {
				t.Errorf("two writes of one key got version %d", v)
			}
			seen[write{key, v}] = true
			mu.Unlock()
		}
	})
}
