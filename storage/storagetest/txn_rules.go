package storagetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// transactionIsOver calls every method after each way to end.
func transactionIsOver(t *T) {
	committed, rolledBack, failed := t.begin(), t.begin(), t.begin()
	committed.set("k", "v")
	committed.commit()
	rolledBack.tx.Rollback()
	t.must(failed.cas("k", storage.IfAbsent(), "x"))
	t.wantCode(errOf(failed.tx.Commit(t.ctx)), storage.Conflict)
	for how, x := range map[string]txn{"commit": committed, "rollback": rolledBack, "failed commit": failed} {
		_, getErr := x.tx.Get(t.ctx, bs("k"))
		_, itemErr := x.tx.GetItem(t.ctx, bs("k"))
		_, manyErr := x.tx.GetMany(t.ctx, [][]byte{bs("k")})
		var rangeErr, prefixErr error
		for _, rangeErr = range x.tx.Range(t.ctx, nil, nil, storage.RangeOptions{}) {
		}
		for _, prefixErr = range x.tx.Prefix(t.ctx, nil, storage.RangeOptions{}) {
		}
		for what, err := range map[string]error{
			"Get": getErr, "GetItem": itemErr, "GetMany": manyErr, "Range": rangeErr, "Prefix": prefixErr,
			"Set":        x.tx.Set(t.ctx, bs("k"), bs("x")),
			"Put":        errOf(x.tx.Put(t.ctx, bs("k"), bs("x"), storage.IfPresent(), storage.WithTTL(time.Hour))),
			"Delete":     x.tx.Delete(t.ctx, bs("k")),
			"Remove":     errOf(x.tx.Remove(t.ctx, bs("k"), storage.IfPresent())),
			"Touch":      errOf(x.tx.Touch(t.ctx, bs("k"), time.Hour)),
			"TouchUntil": errOf(x.tx.TouchUntil(t.ctx, bs("k"), time.Time{})),
			"ClearRange": errOf(x.tx.ClearRange(t.ctx, nil, nil)),
			"Commit":     errOf(x.tx.Commit(t.ctx)),
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
	k := bs("k")
	there := storage.Query{Start: k, End: bs("l")}
	writes := []struct {
		name string
		do   func(storage.KV) error
	}{
		{"set a", func(s storage.KV) error { return s.Set(t.ctx, k, bs("a")) }},
		{"delete", func(s storage.KV) error { return s.Delete(t.ctx, k) }},
		{"absent→b", func(s storage.KV) error { return errOf(s.Put(t.ctx, k, bs("b"), storage.IfAbsent())) }},
		{"a→c", func(s storage.KV) error { return errOf(s.Put(t.ctx, k, bs("c"), storage.IfValue(bs("a")))) }},
		{"present→a", func(s storage.KV) error { return errOf(s.Put(t.ctx, k, bs("a"), storage.IfPresent())) }},
		{"delete if c", func(s storage.KV) error { return errOf(s.Remove(t.ctx, k, storage.IfValue(bs("c")))) }},
		{"clear", func(s storage.KV) error { return errOf(s.ClearRange(t.ctx, there.Start, there.End)) }},
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
		want := showItems(t.all(there))
		reset()
		before := showItems(t.all(there))
		tx := t.s.Begin(storage.ReadCommitted)
		var failed error
		for _, w := range seq {
			if err := writes[w].do(tx); err != nil && failed == nil {
				failed = err
			}
		}
		if failed == nil {
			failed = errOf(tx.Commit(t.ctx))
		} else {
			tx.Rollback()
		}
		got := showItems(t.all(there))
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
	t.must(tx.cas("guard", storage.IfValue(bs("other")), "x")) // fails last
	t.wantCode(errOf(tx.tx.Commit(t.ctx)), storage.Conflict)
	items := t.all(storage.Query{End: bs("g")})
	t.wantItems("a scan", items, numbered("%04d", n))
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
		t.wantLimit(tx.cas(long, storage.IfAbsent(), "v"), "key", most, most+1)
	}
	if most := t.info.Limits.Value; most > 0 && most < saneLimit {
		long := string(make([]byte, most+1))
		t.wantLimit(tx.tx.Set(t.ctx, bs("k"), bs(long)), "value", most, most+1)
		t.wantLimit(tx.cas("k", storage.IfAbsent(), long), "value", most, most+1)
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
