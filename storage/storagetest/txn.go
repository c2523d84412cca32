package storagetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func transactionChecks() []Check {
	checks := in("transaction",
		is("reads_its_own_writes", storage.CapAtomic, func(t *T) {
			tx := t.begin()
			tx.set("k", "v")
			tx.wantValue("k", "v")
			tx.set("k", "w")
			tx.wantValue("k", "w")
			tx.del("k")
			tx.wantAbsent("k")
			tx.set("k", "x")
			tx.wantValue("k", "x")
			t.wantAbsent("k")
			tx.commit()
			t.wantValue("k", "x")
		}),
		is("reads_committed_data", 0, func(t *T) {
			t.set("k", "v")
			tx := t.begin()
			tx.wantValue("k", "v")
			tx.wantAbsent("missing")
			t.set("k", "changed") // reads are live, not of a snapshot
			tx.wantValue("k", "changed")
			tx.tx.Rollback()
		}),
		is("commit_applies_all", storage.CapAtomic, func(t *T) {
			t.set("gone", "v")
			tx := t.begin()
			tx.set("a", "1")
			tx.set("b", "2")
			tx.del("gone")
			tx.commit()
			t.wantKeys(nil, nil, "a", "b")
		}),
		is("dropped_without_commit_is_nothing", 0, func(t *T) {
			t.set("k", "v")
			tx := t.begin()
			tx.set("k", "x")
			tx.set("new", "x")
			t.wantValue("k", "v")
			t.wantAbsent("new")
		}),
		is("deleted_key_reads_as_absent", 0, func(t *T) {
			t.set("k", "v")
			tx := t.begin()
			tx.del("k")
			tx.wantAbsent("k")
			t.wantValue("k", "v")
			tx.commit()
			t.wantAbsent("k")
		}),
		is("conditional_write_rejects_commit", 0, func(t *T) {
			t.set("k", "v0")
			tx := t.begin()
			t.must(tx.cas("k", storage.ExpectValue(bs("v0")), "v1"))
			t.set("k", "outside")
			t.wantCode(tx.tx.Commit(t.ctx), storage.Conflict)
			t.wantValue("k", "outside")
		}),
		is("rollback_drops_everything", 0, func(t *T) {
			tx := t.begin()
			tx.set("k", "v")
			tx.tx.Rollback()
			tx.tx.Rollback()
			t.wantAbsent("k")
		}),
		is("over_means_over", 0, transactionIsOver),
		is("empty_commit", 0, func(t *T) { t.begin().commit() }),
		is("same_key_in_every_order", storage.CapAtomic, sameKeySequences),
		is("own_conditional_writes_are_seen", storage.CapAtomic, func(t *T) {
			tx := t.begin()
			t.must(tx.cas("k", storage.ExpectAbsent(), "a"))
			tx.wantValue("k", "a")
			t.must(tx.cas("k", storage.ExpectValue(bs("a")), "b")) // judged by the pending value
			t.wantCode(tx.cas("k", storage.ExpectValue(bs("a")), "x"), storage.Conflict)
			tx.wantValue("k", "b")
			t.must(tx.tx.CompareAndDelete(t.ctx, bs("k"), storage.ExpectValue(bs("b"))))
			t.wantCode(tx.cas("k", storage.ExpectPresent(), "x"), storage.Conflict)
			t.must(tx.cas("k", storage.ExpectAbsent(), "c"))
			tx.commit()
			t.wantValue("k", "c")
		}),
		is("set_then_conditional_write", storage.CapAtomic, func(t *T) {
			t.set("k", "stored")
			tx := t.begin()
			tx.set("k", "mine")
			t.wantCode(tx.cas("k", storage.ExpectValue(bs("stored")), "x"), storage.Conflict)
			t.must(tx.cas("k", storage.ExpectValue(bs("mine")), "yours"))
			tx.commit()
			t.wantValue("k", "yours")
		}),
		is("conditional_write_then_set_keeps_the_condition", storage.CapAtomic, func(t *T) {
			t.set("k", "v0")
			tx := t.begin()
			t.must(tx.cas("k", storage.ExpectValue(bs("v0")), "v1"))
			tx.set("k", "v2")
			t.set("k", "outside")
			t.wantCode(tx.tx.Commit(t.ctx), storage.Conflict)
			t.wantValue("k", "outside")
		}),
		is("all_conditions_must_hold", storage.CapAtomic, func(t *T) {
			t.setAll("a", "b")
			tx := t.begin()
			t.must(tx.cas("a", storage.ExpectValue(bs("a")), "1"))
			t.must(tx.cas("b", storage.ExpectValue(bs("b")), "2"))
			tx.commit()
			t.wantValue("a", "1")
			t.wantValue("b", "2")
			tx = t.begin()
			tx.set("new", "v")
			t.must(tx.cas("a", storage.ExpectValue(bs("1")), "x"))
			t.must(tx.cas("b", storage.ExpectValue(bs("wrong")), "x"))
			tx.del("a")
			t.wantCode(tx.tx.Commit(t.ctx), storage.Conflict)
			t.wantKeys(nil, nil, "a", "b")
			t.wantValue("a", "1")
			t.wantValue("b", "2")
		}),
		is("last_commit_wins", 0, func(t *T) {
			a, b := t.begin(), t.begin()
			a.set("k", "a")
			b.set("k", "b")
			b.commit()
			a.commit()
			t.wantValue("k", "a")
		}),
		is("two_inserts_one_winner", 0, func(t *T) {
			a, b := t.begin(), t.begin()
			t.must(a.cas("k", storage.ExpectAbsent(), "a"))
			t.must(b.cas("k", storage.ExpectAbsent(), "b"))
			a.commit()
			t.wantCode(b.tx.Commit(t.ctx), storage.Conflict)
			t.wantValue("k", "a")
		}),
		is("large", storage.CapAtomic, largeTransaction),
		is("range", 0, transactionRange),
		is("clear_range", storage.CapAtomic, func(t *T) {
			t.setAll("a", "b", "c", "d")
			tx := t.begin()
			tx.set("bb", "mine")
			t.must(tx.tx.ClearRange(t.ctx, bs("b"), bs("d")))
			tx.set("c", "again")
			tx.wantKeys("a", "c", "d")
			t.set("b5", "from outside") // goes too: a clear is of what is there at the commit
			tx.wantKeys("a", "c", "d")
			tx.commit()
			t.wantKeys(nil, nil, "a", "c", "d")
			t.wantValue("c", "again")
		}),
		is("too_large_is_refused_at_once", 0, tooLargeInTransaction),
		is("commit_after_cancel_applies_nothing", 0, func(t *T) {
			ctx, cancel := context.WithCancel(t.ctx)
			tx := t.begin()
			tx.set("k", "v")
			cancel()
			t.wantCode(tx.tx.Commit(ctx), storage.Canceled)
			t.wantAbsent("k")
			t.wantCode(tx.tx.Commit(t.ctx), storage.TxnDone)
		}),
		is("update_repeats_on_conflict", 0, updateRepeats),
	)
	return append(checks, in("transaction",
		is("ttl_counts_from_the_commit", storage.CapTTL, func(t *T) {
			tx := t.begin()
			tx.setTTL("k", "v", 10*time.Second)
			tx.wantValue("k", "v")
			t.clock.Advance(time.Minute)
			tx.wantValue("k", "v")
			tx.commit()
			t.wantValue("k", "v")
			t.clock.Advance(9 * time.Second)
			t.wantValue("k", "v")
			t.clock.Advance(time.Second)
			t.wantAbsent("k")
		}),
		is("ttl_reads_its_own_writes", storage.CapTTL, func(t *T) {
			tx := t.begin()
			tx.setTTL("k", "v", time.Second)
			tx.wantValue("k", "v")
			tx.tx.Rollback()
			t.wantAbsent("k")
		}),
		is("ttl_compare_and_set", storage.CapTTL, func(t *T) {
			t.set("k", "v0")
			tx := t.begin()
			t.must(tx.tx.CompareAndSetWithTTL(t.ctx, bs("k"), storage.ExpectValue(bs("v0")), bs("v1"), 5*time.Second))
			tx.commit()
			t.wantValue("k", "v1")
			t.clock.Advance(5 * time.Second)
			t.wantAbsent("k")
		}),
		is("ttl_zero_removes", storage.CapTTL, func(t *T) {
			t.setAll("k", "other")
			tx := t.begin()
			tx.setTTL("k", "v", 0)
			tx.wantAbsent("k")
			tx.wantKeys("other")
			tx.commit()
			t.wantAbsent("k")
		}),
		is("ttl_replaced_by_a_plain_set", storage.CapTTL|storage.CapAtomic, func(t *T) {
			tx := t.begin()
			tx.setTTL("k", "v", time.Second)
			tx.set("k", "for ever")
			tx.commit()
			t.clock.Advance(time.Hour)
			t.wantValue("k", "for ever")
		}),
		is("ttl_negative_is_refused", storage.CapTTL, func(t *T) {
			tx := t.begin()
			t.wantCode(tx.tx.SetWithTTL(t.ctx, bs("k"), bs("v"), -1), storage.InvalidArgument)
			tx.wantAbsent("k")
			tx.set("other", "v")
			tx.commit()
			t.wantKeys(nil, nil, "other")
		}),
		is("ttl_insert_over_an_expired_key", storage.CapTTL, func(t *T) {
			t.setTTL("k", "stale", 5*time.Second)
			tx := t.begin()
			t.must(tx.cas("k", storage.ExpectAbsent(), "v"))
			t.clock.Advance(5 * time.Second)
			tx.commit()
			t.clock.Advance(time.Hour)
			t.wantValue("k", "v")
		}),
	)...)
}

// txn is a transaction in the terms of checks.
type txn struct {
	t  *T
	tx *storage.Txn
}

func (t *T) begin() txn        { return txn{t, t.s.Begin(storage.ReadCommitted)} }
func (t *T) serializable() txn { return txn{t, t.s.Begin(storage.Serializable)} }

func (x txn) set(key, value string) { x.t.must(x.tx.Set(x.t.ctx, bs(key), bs(value))) }
func (x txn) del(key string)        { x.t.must(x.tx.Delete(x.t.ctx, bs(key))) }
func (x txn) commit()               { x.t.must(x.tx.Commit(x.t.ctx)) }

func (x txn) setTTL(key, value string, ttl time.Duration) {
	x.t.must(x.tx.SetWithTTL(x.t.ctx, bs(key), bs(value), ttl))
}

func (x txn) cas(key string, e storage.Expected, value string) error {
	return x.tx.CompareAndSet(x.t.ctx, bs(key), e, bs(value))
}

func (x txn) wantValue(key, want string) {
	v, err := x.tx.Get(x.t.ctx, bs(key))
	if err != nil || string(v) != want || v == nil {
		x.t.Fatalf("in the transaction, Get(%q) = %s, %v, want %q", key, quote(v), err, want)
	}
}

func (x txn) wantAbsent(key string) {
	v, err := x.tx.Get(x.t.ctx, bs(key))
	if storage.CodeOf(err) != storage.NotFound {
		x.t.Fatalf("in the transaction, Get(%q) = %s, %v, want not found", key, quote(v), err)
	}
}

func (x txn) keys(o storage.RangeOptions) (keys []string) {
	for it, err := range x.tx.Range(x.t.ctx, nil, nil, o) {
		x.t.must(err)
		keys = append(keys, string(it.Key))
	}
	return keys
}

func (x txn) wantKeys(want ...string) {
	for _, page := range []int{0, 1, 3} {
		if got := x.keys(storage.RangeOptions{PageItems: page}); !slices.Equal(got, want) {
			x.t.Fatalf("in the transaction, the range, %d a page, is %q, want %q", page, got, want)
		}
	}
}

// transactionIsOver calls every method after each way to end.
func transactionIsOver(t *T) {
	committed, rolledBack, failed := t.begin(), t.begin(), t.begin()
	committed.set("k", "v")
	committed.commit()
	rolledBack.tx.Rollback()
	t.must(failed.cas("k", storage.ExpectAbsent(), "x"))
	t.wantCode(failed.tx.Commit(t.ctx), storage.Conflict)
	for how, x := range map[string]txn{"commit": committed, "rollback": rolledBack, "failed commit": failed} {
		_, getErr := x.tx.Get(t.ctx, bs("k"))
		var rangeErr, prefixErr error
		for _, rangeErr = range x.tx.Range(t.ctx, nil, nil, storage.RangeOptions{}) {
		}
		for _, prefixErr = range x.tx.Prefix(t.ctx, nil, storage.RangeOptions{}) {
		}
		for what, err := range map[string]error{
			"Get": getErr, "Range": rangeErr, "Prefix": prefixErr,
			"Set":                  x.tx.Set(t.ctx, bs("k"), bs("x")),
			"SetWithTTL":           x.tx.SetWithTTL(t.ctx, bs("k"), bs("x"), time.Hour),
			"Delete":               x.tx.Delete(t.ctx, bs("k")),
			"CompareAndSet":        x.tx.CompareAndSet(t.ctx, bs("k"), storage.ExpectPresent(), bs("x")),
			"CompareAndSetWithTTL": x.tx.CompareAndSetWithTTL(t.ctx, bs("k"), storage.ExpectPresent(), bs("x"), time.Hour),
			"CompareAndDelete":     x.tx.CompareAndDelete(t.ctx, bs("k"), storage.ExpectPresent()),
			"ClearRange":           x.tx.ClearRange(t.ctx, nil, nil),
			"Commit":               x.tx.Commit(t.ctx),
		} {
			if storage.CodeOf(err) != storage.TxnDone {
				t.Errorf("%s after a %s: %v, want %s", what, how, err, storage.TxnDone)
			}
		}
		x.tx.Rollback()
	}
	t.wantKeys(nil, nil, "k")
	t.wantValue("k", "v")
}

// sameKeySequences runs every sequence of three writes of one key, on each state
// of it, against the same writes one by one outside of a transaction.
func sameKeySequences(t *T) {
	type kv interface {
		Set(context.Context, []byte, []byte) error
		Delete(context.Context, []byte) error
		CompareAndSet(context.Context, []byte, storage.Expected, []byte) error
		CompareAndDelete(context.Context, []byte, storage.Expected) error
		ClearRange(context.Context, []byte, []byte) error
	}
	k := bs("k")
	writes := []struct {
		name string
		do   func(kv) error
	}{
		{"set a", func(s kv) error { return s.Set(t.ctx, k, bs("a")) }},
		{"delete", func(s kv) error { return s.Delete(t.ctx, k) }},
		{"absent→b", func(s kv) error { return s.CompareAndSet(t.ctx, k, storage.ExpectAbsent(), bs("b")) }},
		{"a→c", func(s kv) error { return s.CompareAndSet(t.ctx, k, storage.ExpectValue(bs("a")), bs("c")) }},
		{"present→a", func(s kv) error { return s.CompareAndSet(t.ctx, k, storage.ExpectPresent(), bs("a")) }},
		{"delete if c", func(s kv) error { return s.CompareAndDelete(t.ctx, k, storage.ExpectValue(bs("c"))) }},
		{"clear", func(s kv) error { return s.ClearRange(t.ctx, nil, nil) }},
	}
	n := len(writes)
	for i := range n * n * n * 2 {
		seq := []int{i % n, i / n % n, i / n / n % n}
		start := i/n/n/n == 1
		reset := func() {
			t.del("k")
			if start {
				t.set("k", "a")
			}
		}
		name := fmt.Sprintf("present %t: %s, %s, %s", start, writes[seq[0]].name, writes[seq[1]].name, writes[seq[2]].name)
		reset()
		conflict := false
		for _, w := range seq {
			conflict = conflict || writes[w].do(t.s) != nil
		}
		want := showItems(t.all(storage.Query{}))
		reset()
		before := showItems(t.all(storage.Query{}))
		tx := t.s.Begin(storage.ReadCommitted)
		var failed error
		for _, w := range seq {
			if err := writes[w].do(tx); err != nil && failed == nil {
				failed = err
			}
		}
		if failed == nil {
			failed = tx.Commit(t.ctx)
		} else {
			tx.Rollback()
		}
		got := showItems(t.all(storage.Query{}))
		if conflict {
			if storage.CodeOf(failed) != storage.Conflict || got != before {
				t.Errorf("%s: %v, %s; want a conflict and %s", name, failed, got, before)
			}
		} else if failed != nil || got != want {
			t.Errorf("%s: %v, %s; want %s", name, failed, got, want)
		}
	}
}

func largeTransaction(t *T) {
	n := 1000
	if most := t.info.Limits.Ops; most > 0 {
		n = min(n, most/2)
	}
	t.set("guard", "v")
	fill := func(value string) txn {
		tx := t.begin()
		for i := range n {
			tx.set(fmt.Sprintf("%04d", i), value)
		}
		return tx
	}
	fill("first").commit()
	tx := fill("second")
	t.must(tx.cas("guard", storage.ExpectValue(bs("other")), "x")) // fails last
	t.wantCode(tx.tx.Commit(t.ctx), storage.Conflict)
	items := t.all(storage.Query{End: bs("g")})
	if len(items) != n {
		t.Fatalf("%d keys are there, want %d", len(items), n)
	}
	for _, it := range items {
		if string(it.Value) != "first" {
			t.Fatalf("%q is %s after a commit that failed", it.Key, quote(it.Value))
		}
	}
}

// transactionRange merges own writes into what is stored, in both directions.
func transactionRange(t *T) {
	t.setAll("a", "c", "e", "g")
	tx := t.begin()
	tx.set("b", "mine")
	tx.set("c", "mine")
	tx.del("e")
	tx.set("z", "mine")
	tx.wantKeys("a", "b", "c", "g", "z")
	if got := tx.keys(storage.RangeOptions{Limit: 3}); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("limit 3: %q", got)
	}
	if got := tx.keys(storage.RangeOptions{After: bs("b"), PageItems: 1}); !slices.Equal(got, []string{"c", "g", "z"}) {
		t.Errorf("after b: %q", got)
	}
	for it, err := range tx.tx.Prefix(t.ctx, bs("c"), storage.RangeOptions{}) {
		t.must(err)
		if string(it.Key) != "c" || string(it.Value) != "mine" {
			t.Errorf("the prefix c has %q = %s", it.Key, quote(it.Value))
		}
	}
	if !t.has(storage.CapReverse) {
		return
	}
	for _, page := range []int{0, 1, 2} {
		if got := tx.keys(storage.RangeOptions{Reverse: true, PageItems: page}); !slices.Equal(got, []string{"z", "g", "c", "b", "a"}) {
			t.Errorf("reverse, %d a page: %q", page, got)
		}
	}
	if got := tx.keys(storage.RangeOptions{Reverse: true, Limit: 2}); !slices.Equal(got, []string{"z", "g"}) {
		t.Errorf("reverse, limit 2: %q", got)
	}
}

// tooLargeInTransaction: what is too large is refused where it is written, and
// leaves the transaction usable.
func tooLargeInTransaction(t *T) {
	tx := t.begin()
	if most := t.info.Limits.Key; most > 0 && most < saneLimit {
		long := string(make([]byte, most+1))
		t.wantLimit(tx.tx.Set(t.ctx, bs(long), bs("v")), "key", most, most+1)
		t.wantLimit(tx.tx.Delete(t.ctx, bs(long)), "key", most, most+1)
		t.wantLimit(tx.cas(long, storage.ExpectAbsent(), "v"), "key", most, most+1)
	}
	if most := t.info.Limits.Value; most > 0 && most < saneLimit {
		long := string(make([]byte, most+1))
		t.wantLimit(tx.tx.Set(t.ctx, bs("k"), bs(long)), "value", most, most+1)
		t.wantLimit(tx.cas("k", storage.ExpectAbsent(), long), "value", most, most+1)
	}
	tx.set("fine", "v")
	tx.commit()
	t.wantKeys(nil, nil, "fine")
}

// updateRepeats has the first two attempts lose to another writer.
func updateRepeats(t *T) {
	t.set("n", "0")
	attempts := 0
	t.must(t.s.Update(t.ctx, func(tx *storage.Txn) error {
		v, err := tx.Get(t.ctx, bs("n"))
		if err != nil {
			return err
		}
		if attempts++; attempts < 3 {
			t.set("n", fmt.Sprint(attempts))
		}
		return tx.Set(t.ctx, bs("n"), append(v, '+'))
	}))
	t.wantValue("n", "2+")
	if attempts != 3 {
		t.Errorf("%d attempts, want 3", attempts)
	}
}
