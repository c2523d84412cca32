package storagetest

import (
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func writeSetChecks() []Check {
	return in("write_set",
		is("ops_run_in_order", storage.CapAtomic, opsRunInOrder),
		is("later_op_on_a_key_wins", storage.CapAtomic, func(t *T) {
			t.apply(storage.Put(bs("a"), bs("1")), storage.Put(bs("a"), bs("2")))
			t.wantValue("a", "2")
			t.apply(storage.Put(bs("a"), bs("3")), storage.Delete(bs("a")))
			t.wantAbsent("a")
			t.apply(storage.Delete(bs("a")), storage.Put(bs("a"), bs("4")), storage.Delete(bs("b")))
			t.wantValue("a", "4")
		}),
		is("range_delete_and_puts", storage.CapAtomic, func(t *T) {
			t.setAll("a", "b", "c", "d")
			t.apply(storage.Put(bs("b"), bs("gone")), storage.DeleteRange(bs("b"), bs("d")), storage.Put(bs("c"), bs("new")))
			t.wantKeys(nil, nil, "a", "c", "d")
			t.wantValue("c", "new")
			t.apply(storage.Put(bs("x"), bs("1")), storage.DeleteRange(nil, nil), storage.Put(bs("y"), bs("2")), storage.DeleteRange(bs("z"), bs("a")))
			t.wantKeys(nil, nil, "y")
		}),
		is("without_ops_and_checks", 0, func(t *T) {
			t.set("k", "v")
			t.must(t.try(nil))
			t.wantValue("k", "v")
		}),
		is("many_ops", storage.CapAtomic, func(t *T) {
			n := 1000
			if most := t.info.Limits.Ops; most > 0 {
				n = min(n, most)
			}
			var ops []storage.Op
			for i := range n {
				ops = append(ops, storage.Put(fmt.Appendf(nil, "%04d", i), fmt.Append(nil, i)))
			}
			t.apply(ops...)
			t.wantItems("a scan", t.all(storage.Query{}), numbered("%04d", n))
		}),
		is("check_only_set", storage.CapCheckOnly, func(t *T) {
			t.set("k", "v")
			t.must(t.try([]storage.Check{storage.Present(bs("k")), storage.Absent(bs("x"))}))
			t.wantConflict(1, []storage.Check{storage.Present(bs("k")), storage.Present(bs("x"))})
		}),
		is("checks_see_the_state_before", 0, func(t *T) {
			t.set("k", "old")
			t.must(t.try([]storage.Check{storage.HasValue(bs("k"), bs("old"))}, storage.Put(bs("k"), bs("new"))))
			t.wantValue("k", "new")
			t.wantConflict(0, []storage.Check{storage.Absent(bs("k"))}, storage.Delete(bs("k")))
			t.wantConflict(0, []storage.Check{storage.Present(bs("x"))}, storage.Put(bs("x"), bs("v")))
			t.wantAbsent("x")
		}),
		is("hostile", 0, hostileWriteSets),
		is("first_refusal", 0, firstRefusal),
		is("fields_that_a_check_does_not_use", 0, ignoredFields),
	)
}

// wantConflict demands that applying ops under checks is refused because of the
// one at index.
func (t *T) wantConflict(index int, checks []storage.Check, ops ...storage.Op) {
	e := t.wantCode(t.try(checks, ops...), storage.Conflict)
	if e.FailedCheck() != index {
		t.Fatalf("the Conflict names check %d, want %d", e.FailedCheck(), index)
	}
	if e.Unknown || e.Retryable() {
		t.Fatalf("a Conflict is neither retryable nor of unknown outcome: %+v", e)
	}
}

// opsRunInOrder tries all orders of four ops on overlapping keys, each against
// the outcome of applying them one by one.
func opsRunInOrder(t *T) {
	later := t.clock.Now().Add(time.Hour)
	ops := []storage.Op{storage.Put(bs("b"), bs("put")), storage.Delete(bs("b")), storage.DeleteRange(bs("a"), bs("c"))}
	if t.has(storage.CapTTL) {
		ops = append(ops, storage.PutUntil(bs("b"), bs("later"), later))
	} else {
		ops = append(ops, storage.Put(bs("bb"), bs("bb")))
	}
	reset := []storage.Op{storage.DeleteRange(nil, nil), storage.Put(bs("a"), bs("a")), storage.Put(bs("b"), bs("b")), storage.Put(bs("c"), bs("c"))}
	permute(ops, func(ops []storage.Op) {
		t.apply(reset...)
		for _, o := range ops {
			t.apply(o)
		}
		want := showItems(t.all(storage.Query{}))
		t.apply(reset...)
		t.apply(ops...)
		if got := showItems(t.all(storage.Query{})); got != want {
			t.Errorf("%s at once leave\n  %s\none by one\n  %s", showOps(ops), got, want)
		}
	})
}

func permute(ops []storage.Op, each func([]storage.Op)) {
	var rec func(at int)
	rec = func(at int) {
		if at == len(ops) {
			each(ops)
			return
		}
		for i := at; i < len(ops); i++ {
			ops[at], ops[i] = ops[i], ops[at]
			rec(at + 1)
			ops[at], ops[i] = ops[i], ops[at]
		}
	}
	rec(0)
}

// hostileWriteSets make no sense, and have to be refused with nothing done.
func hostileWriteSets(t *T) {
	t.set("k", "v")
	put, later := storage.Put(bs("k"), bs("changed")), t.clock.Now().Add(time.Hour)
	for _, w := range []struct {
		name string
		storage.WriteSet
	}{
		{"op of kind 0", storage.WriteSet{Ops: []storage.Op{{Key: bs("k")}}}},
		{"op of an unknown kind", storage.WriteSet{Ops: []storage.Op{{Kind: 200, Key: bs("k")}}}},
		{"check of kind 0", storage.WriteSet{Checks: []storage.Check{{Key: bs("k")}}, Ops: []storage.Op{put}}},
		{"check of an unknown kind", storage.WriteSet{Checks: []storage.Check{{Kind: 200, Key: bs("k")}}, Ops: []storage.Op{put}}},
		{"check of version 0", storage.WriteSet{Checks: []storage.Check{{Kind: storage.CheckVersion, Key: bs("k")}}, Ops: []storage.Op{put}}},
		{"put with an end", storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpPut, Key: bs("k"), End: bs("l"), Value: bs("changed")}}}},
		{"put with an end that is empty", storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpPut, Key: bs("k"), End: []byte{}, Value: bs("changed")}}}},
		{"delete with an end", storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpDelete, Key: bs("k"), End: bs("l")}}}},
		{"delete with an expiry", storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpDelete, Key: bs("k"), ExpiresAt: later}}}},
		{"range delete with a value", storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpDeleteRange, Key: bs("k"), Value: bs("v")}}}},
		{"range delete with an expiry", storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpDeleteRange, Key: bs("k"), ExpiresAt: later}}}},
		{"delete with a value", storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpDelete, Key: bs("k"), Value: bs("v")}}}},
	} {
		if _, err := t.b.Apply(t.ctx, &w.WriteSet); storage.CodeOf(err) != storage.InvalidArgument {
			t.Errorf("%s: %v, want %s", w.name, err, storage.InvalidArgument)
		}
		t.wantValue("k", "v")
	}
}
