package storagetest

import (
	"errors"

	"github.com/plinthkv/plinth/storage"
)

func casChecks() []Check {
	return in("cas",
		is("insert_if_absent", 0, func(t *T) {
			t.must(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectAbsent(), bs("v")))
			t.wantValue("k", "v")
		}),
		is("insert_if_absent_fails_when_key_exists", 0, func(t *T) {
			t.set("k", "v")
			t.wantCode(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectAbsent(), bs("x")), storage.Conflict)
			t.wantValue("k", "v")
		}),
		is("update_with_matching_value", 0, func(t *T) {
			t.set("k", "v0")
			t.must(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectValue(bs("v0")), bs("v1")))
			t.wantValue("k", "v1")
		}),
		is("update_with_mismatched_value", 0, func(t *T) {
			t.set("k", "v0")
			for _, wrong := range []string{"v", "v00", "V0", "", "v1", "v0\x00"} {
				t.wantCode(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectValue(bs(wrong)), bs("x")), storage.Conflict)
			}
			t.wantValue("k", "v0")
		}),
		is("absent_and_empty_differ", 0, absentAndEmpty),
		is("new_value_equals_old", 0, func(t *T) {
			t.set("k", "v")
			t.must(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectValue(bs("v")), bs("v")))
			t.wantValue("k", "v")
		}),
		is("expect_present", 0, func(t *T) {
			t.wantCode(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectPresent(), bs("x")), storage.Conflict)
			t.wantAbsent("k")
			t.set("k", "v")
			t.must(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectPresent(), bs("x")))
			t.wantValue("k", "x")
		}),
		is("compare_and_delete", 0, func(t *T) {
			t.set("k", "v")
			t.wantCode(t.s.CompareAndDelete(t.ctx, bs("k"), storage.ExpectValue(bs("x"))), storage.Conflict)
			t.wantCode(t.s.CompareAndDelete(t.ctx, bs("k"), storage.ExpectAbsent()), storage.Conflict)
			t.wantValue("k", "v")
			t.must(t.s.CompareAndDelete(t.ctx, bs("k"), storage.ExpectValue(bs("v"))))
			t.wantAbsent("k")
			t.wantCode(t.s.CompareAndDelete(t.ctx, bs("k"), storage.ExpectPresent()), storage.Conflict)
			t.must(t.s.CompareAndDelete(t.ctx, bs("k"), storage.ExpectAbsent()))
			t.wantAbsent("k")
		}),
		is("expect_version", storage.CapVersions, expectVersion),
		is("a_version_never_matches_again", storage.CapVersions, func(t *T) {
			t.set("k", "v")
			v := t.item("k").Version
			t.set("k", "other")
			t.set("k", "v") // the value is back, the version is not
			t.wantCode(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectVersion(v), bs("x")), storage.Conflict)
			v = t.item("k").Version
			t.del("k")
			t.wantCode(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectVersion(v), bs("x")), storage.Conflict)
			t.set("k", "v")
			t.wantCode(t.s.CompareAndDelete(t.ctx, bs("k"), storage.ExpectVersion(v)), storage.Conflict)
			t.wantValue("k", "v")
		}),
		is("failure_changes_nothing", 0, func(t *T) {
			t.set("k", "v")
			before := t.item("k")
			t.wantCode(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectAbsent(), bs("x")), storage.Conflict)
			if after := t.item("k"); string(after.Value) != "v" || after.Version != before.Version {
				t.Errorf("a failed compare-and-set left %+v of %+v", after, before)
			}
		}),
		is("the_first_failing_check_is_named", storage.CapCheckOnly, func(t *T) {
			t.setAll("a", "b", "c")
			good := storage.Check{Kind: storage.CheckPresent, Key: bs("a")}
			bad := storage.Check{Kind: storage.CheckAbsent, Key: bs("b")}
			worse := storage.Check{Kind: storage.CheckValue, Key: bs("c"), Value: bs("x")}
			t.wantConflict(0, []storage.Check{bad, worse, good}, storage.Put(bs("a"), bs("x")))
			t.wantConflict(1, []storage.Check{good, bad, worse}, storage.Put(bs("a"), bs("x")))
			t.wantConflict(2, []storage.Check{good, good, worse, bad}, storage.Put(bs("a"), bs("x")))
			t.wantValue("a", "a")
		}),
		is("zero_expectation_is_refused", 0, func(t *T) {
			t.wantCode(t.s.CompareAndSet(t.ctx, bs("k"), storage.Expected{}, bs("x")), storage.InvalidArgument)
			t.wantAbsent("k")
		}),
		is("range_check", storage.CapRangeCheck|storage.CapVersions, rangeCheck),
		is("json", 0, jsonHelpers),
	)
}

// absentAndEmpty is every pair of what is expected and what is there.
func absentAndEmpty(t *T) {
	empty, absent := storage.ExpectValue(bs("")), storage.ExpectAbsent()
	try := func(e storage.Expected) error { return t.s.CompareAndSet(t.ctx, bs("k"), e, bs("new")) }
	t.wantCode(try(empty), storage.Conflict)
	t.wantAbsent("k")
	t.set("k", "")
	t.wantCode(try(absent), storage.Conflict)
	t.wantValue("k", "")
	t.must(try(storage.ExpectValue(nil))) // nil is the empty value
	t.wantValue("k", "new")
	t.del("k")
	t.must(try(absent))
	t.wantValue("k", "new")
	t.wantCode(try(empty), storage.Conflict)
}

func expectVersion(t *T) {
	t.set("k", "v")
	v := t.item("k").Version
	for _, wrong := range []uint64{v + 1, v - 1, 1, 1<<64 - 1} {
		t.wantCode(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectVersion(wrong), bs("x")), storage.Conflict)
	}
	t.wantCode(t.s.CompareAndSet(t.ctx, bs("absent"), storage.ExpectVersion(v), bs("x")), storage.Conflict)
	t.wantCode(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectVersion(0), bs("x")), storage.InvalidArgument)
	t.must(t.s.CompareAndSet(t.ctx, bs("k"), storage.ExpectVersion(v), bs("w")))
	t.wantValue("k", "w")
	t.wantCode(t.s.CompareAndDelete(t.ctx, bs("k"), storage.ExpectVersion(v)), storage.Conflict)
	t.must(t.s.CompareAndDelete(t.ctx, bs("k"), storage.ExpectVersion(t.item("k").Version)))
	t.wantAbsent("k")
}

// rangeCheck is about live keys that are newer: bounds count, deletes do not.
func rangeCheck(t *T) {
	t.setAll("a", "b", "c")
	seen := t.scan(storage.Query{}).Version
	newer := func(start, end []byte, v uint64) error {
		return t.try([]storage.Check{{Kind: storage.CheckRange, Key: start, End: end, Version: v}}, storage.Put(bs("z"), bs("v")))
	}
	t.must(newer(bs("a"), bs("d"), seen))
	t.set("b", "changed")
	changed := t.item("b").Version
	for _, r := range []struct {
		start, end []byte
		v          uint64
		conflict   bool
	}{
		{nil, nil, seen, true}, {bs("b"), bs("c"), seen, true}, {bs("a"), storage.After(bs("b")), seen, true}, {bs("b"), nil, seen, true},
		{nil, bs("b"), seen, false}, {bs("b\x00"), bs("z"), seen, false}, {bs("c"), bs("a"), seen, false}, {nil, []byte{}, seen, false},
		{bs("b"), bs("b"), seen, false}, {bs("a"), bs("d"), changed, false}, {bs("a"), bs("d"), changed - 1, true}, {bs("a"), bs("d"), 0, true},
	} {
		switch err := newer(r.start, r.end, r.v); {
		case r.conflict && !errors.Is(err, storage.ErrConflict):
			t.Errorf("nothing in [%q, %q) is newer than %d: %v, want a conflict", r.start, r.end, r.v, err)
		case !r.conflict && err != nil:
			t.Errorf("nothing in [%q, %q) is newer than %d: %v", r.start, r.end, r.v, err)
		}
	}
	now := t.scan(storage.Query{}).Version
	t.del("b")
	t.must(newer(bs("a"), bs("d"), now))
}

func jsonHelpers(t *T) {
	type person struct {
		Name string
		Age  int
	}
	key := bs("k")
	_, _, err := storage.GetJSON[person](t.ctx, t.s, key)
	t.wantCode(err, storage.NotFound)
	t.must(storage.CompareAndSetJSON(t.ctx, t.s, key, storage.ExpectAbsent(), person{"<Ann & Bo>", 1}))
	t.wantValue("k", `{"Name":"<Ann & Bo>","Age":1}`)
	p, raw, err := storage.GetJSON[person](t.ctx, t.s, key)
	t.must(err)
	p.Age++
	t.must(storage.CompareAndSetJSON(t.ctx, t.s, key, storage.ExpectValue(raw), p))
	t.wantCode(storage.CompareAndSetJSON(t.ctx, t.s, key, storage.ExpectValue(raw), p), storage.Conflict)
	t.wantValue("k", `{"Name":"<Ann & Bo>","Age":2}`)
}
