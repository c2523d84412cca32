package storagetest

import (
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// serializableChecks interleave transactions by hand: what one has read and
// another has changed must end in a Conflict.
func serializableChecks() []Check {
	const keys, ranges = storage.CapCheckOnly | storage.CapAtomic, storage.CapCheckOnly | storage.CapAtomic | storage.CapVersions | storage.CapRangeCheck
	return in("serializable",
		is("no_lost_update", 0, func(t *T) {
			t.set("n", "1")
			a, b := t.serializable(), t.serializable()
			a.wantValue("n", "1")
			b.wantValue("n", "1")
			a.set("n", "2a")
			b.set("n", "2b")
			a.commit()
			t.wantCode(errOf(b.tx.Commit(t.ctx)), storage.Conflict)
			t.wantValue("n", "2a")
		}),
		is("no_write_skew", keys, func(t *T) {
			t.setAll("ann", "bob") // both are on call; one must stay
			a, b := t.serializable(), t.serializable()
			for _, x := range []txn{a, b} {
				x.wantValue("ann", "ann")
				x.wantValue("bob", "bob")
			}
			a.del("ann")
			b.del("bob")
			a.commit()
			t.wantCode(errOf(b.tx.Commit(t.ctx)), storage.Conflict)
			t.wantKeys(nil, nil, "bob")
		}),
		is("read_of_an_absent_key", keys, func(t *T) {
			tx := t.serializable()
			tx.wantAbsent("k")
			tx.set("other", "v")
			t.set("k", "v")
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
			t.wantAbsent("other")
		}),
		is("read_only", keys, func(t *T) {
			t.setAll("a", "b")
			tx := t.serializable()
			tx.wantValue("a", "a")
			t.set("a", "x")
			tx.wantValue("b", "b")
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
			tx = t.serializable()
			tx.wantValue("a", "x")
			tx.wantValue("b", "b")
			tx.commit()
		}),
		is("reads_its_own_writes", keys, func(t *T) {
			t.set("k", "v")
			tx := t.serializable()
			tx.set("k", "mine")
			tx.wantValue("k", "mine")
			t.set("k", "outside") // tx never read what is stored
			tx.commit()
			t.wantValue("k", "mine")
		}),
		is("first_read_counts", keys, func(t *T) {
			t.set("k", "v")
			tx := t.serializable()
			tx.wantValue("k", "v")
			t.set("k", "w")
			tx.wantValue("k", "w")
			tx.set("other", "v")
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
		}),
		is("an_absence_that_came_back_is_a_change", keys, func(t *T) {
			tx := t.serializable()
			tx.wantAbsent("k")
			t.set("k", "v")
			tx.wantValue("k", "v")
			t.del("k")
			tx.set("other", "v")
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
		}),
		is("a_value_that_came_back_is_a_change", keys|storage.CapVersions, func(t *T) {
			t.set("k", "v")
			tx := t.serializable()
			tx.wantValue("k", "v")
			t.set("k", "w")
			t.set("k", "v")
			tx.set("other", "v")
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
		}),
		is("item_that_expired_is_a_change", keys|storage.CapTTL, func(t *T) {
			t.setTTL("k", "v", time.Minute)
			tx := t.serializable()
			tx.wantValue("k", "v")
			tx.set("other", "v")
			t.clock.Advance(time.Minute)
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
		}),
		is("read_committed_checks_no_reads", storage.CapAtomic, func(t *T) {
			t.setAll("a", "b")
			tx := t.begin()
			tx.wantValue("a", "a")
			tx.wantKeys("a", "b")
			tx.set("c", "v")
			t.set("a", "x")
			t.set("d", "new")
			tx.commit()
			t.wantKeys(nil, nil, "a", "b", "c", "d")
		}),
		is("phantoms", ranges, phantoms),
		is("phantoms_beyond_a_limit", ranges, phantomsBeyondALimit),
		is("phantoms_and_own_writes", ranges, func(t *T) {
			t.setAll("a", "c")
			tx := t.serializable()
			tx.set("b", "mine")
			tx.wantKeys("a", "b", "c")
			t.set("b", "outside") // it is in the range that was read
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
			tx = t.serializable()
			tx.set("b", "mine")
			tx.wantKeys("a", "b", "c")
			tx.set("bb", "mine")
			tx.wantKeys("a", "b", "bb", "c")
			tx.commit()
			t.wantKeys(nil, nil, "a", "b", "bb", "c")
		}),
		is("range_of_nothing", ranges, func(t *T) {
			tx := t.serializable()
			tx.wantKeys()
			tx.set("count", "0")
			t.set("a", "phantom")
			t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
			t.wantAbsent("count")
		}),
		is("range_without_the_capability", 0, func(t *T) {
			t.setAll("a")
			tx := t.serializable()
			var got error
			for _, err := range tx.tx.Range(t.ctx, nil, nil, storage.RangeOptions{}) {
				got = err
			}
			if t.has(storage.CapVersions | storage.CapRangeCheck) {
				t.must(got)
			} else {
				t.wantCode(got, storage.Unsupported)
			}
		}),
	)
}

// phantoms: each way to change a range after it was read, in it and next to it.
func phantoms(t *T) {
	changes := []struct {
		name     string
		do       func()
		conflict bool
	}{
		{"an insert into it", func() { t.set("bb", "v") }, true},
		{"an insert at its start", func() { t.set("b\x00", "v") }, true},
		{"a replacement", func() { t.set("c", "x") }, true},
		{"a replacement by the same", func() { t.set("c", "c") }, true},
		{"a delete", func() { t.del("c") }, true},
		{"a delete and a new insert", func() { t.del("c"); t.set("c", "c") }, true},
		{"a clear", func() { t.clear(bs("b"), bs("c")) }, true},
		{"an insert before it", func() { t.set("a\xff", "v") }, false},
		{"an insert at its end", func() { t.set("e", "v") }, false},
		{"a delete behind it", func() { t.del("f") }, false},
		{"a delete of nothing", func() { t.del("bb") }, false},
		{"nothing", func() {}, false},
	}
	for _, c := range changes {
		for _, o := range []storage.RangeOptions{{}, {PageItems: 1}, {Reverse: true}, {Reverse: true, PageItems: 1}, {KeysOnly: true}} {
			if o.Reverse && !t.has(storage.CapReverse) {
				continue
			}
			t.clear(nil, nil)
			t.setAll("a", "b", "c", "d", "f")
			tx := t.serializable()
			n := 0
			for _, err := range tx.tx.Range(t.ctx, bs("b"), bs("e"), o) {
				t.must(err)
				n++
			}
			if n != 3 {
				t.Fatalf("the range has %d items", n)
			}
			tx.set("count", "3")
			c.do()
			_, err := tx.tx.Commit(t.ctx)
			if got := storage.CodeOf(err) == storage.Conflict; got != c.conflict || err != nil && !got {
				t.Errorf("%s, after a range with %+v: %v", c.name, o, err)
			}
		}
	}
}

// phantomsBeyondALimit: what a loop has not seen is not checked, up to the key
// at which it was left.
func phantomsBeyondALimit(t *T) {
	for _, page := range []int{0, 1, 2} {
		for _, leave := range []bool{true, false} {
			for _, c := range []struct {
				insert   string
				conflict bool
			}{{"0", true}, {"ab", true}, {"b", true}, {"b\x00", false}, {"bb", false}, {"c", false}, {"x", false}} {
				t.clear(nil, nil)
				t.setAll("a", "b", "c", "d")
				tx := t.serializable()
				o := storage.RangeOptions{PageItems: page, Limit: 2}
				if leave {
					o.Limit = 0
				}
				var got []string
				for it, err := range tx.tx.Range(t.ctx, nil, nil, o) {
					t.must(err)
					if got = append(got, string(it.Key)); leave && len(got) == 2 {
						break
					}
				}
				if !slices.Equal(got, []string{"a", "b"}) {
					t.Fatalf("the first two are %q", got)
				}
				tx.set("count", "2")
				t.set(c.insert, "new")
				_, err := tx.tx.Commit(t.ctx)
				if got := storage.CodeOf(err) == storage.Conflict; got != c.conflict || err != nil && !got {
					t.Errorf("insert of %q, %d a page, left %t: %v", c.insert, page, leave, err)
				}
			}
		}
	}
}
