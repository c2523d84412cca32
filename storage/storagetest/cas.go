package storagetest

import (
	"errors"

	"github.com/plinthkv/plinth/storage"
)

func casChecks() []Check {
	return in("cas",
		is("insert_if_absent", 0, func(t *T) {
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("v"), storage.IfAbsent())))
			t.wantValue("k", "v")
		}),
		is("insert_if_absent_fails_when_key_exists", 0, func(t *T) {
			t.set("k", "v")
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfAbsent())), storage.Conflict)
			t.wantValue("k", "v")
		}),
		is("update_with_matching_value", 0, func(t *T) {
			t.set("k", "v0")
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("v1"), storage.IfValue(bs("v0")))))
			t.wantValue("k", "v1")
		}),
		is("update_with_mismatched_value", 0, func(t *T) {
			t.set("k", "v0")
			for _, wrong := range []string{"v", "v00", "V0", "", "v1", "v0\x00"} {
				t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfValue(bs(wrong)))), storage.Conflict)
			}
			t.wantValue("k", "v0")
		}),
		is("absent_and_empty_differ", 0, absentAndEmpty),
		is("new_value_equals_old", 0, func(t *T) {
			t.set("k", "v")
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("v"), storage.IfValue(bs("v")))))
			t.wantValue("k", "v")
		}),
		is("expect_present", 0, func(t *T) {
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfPresent())), storage.Conflict)
			t.wantAbsent("k")
			t.set("k", "v")
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfPresent())))
			t.wantValue("k", "x")
		}),
		is("compare_and_delete", 0, func(t *T) {
			t.set("k", "v")
			t.wantCode(errOf(t.s.Remove(t.ctx, bs("k"), storage.IfValue(bs("x")))), storage.Conflict)
			t.wantCode(errOf(t.s.Remove(t.ctx, bs("k"), storage.IfAbsent())), storage.Conflict)
			t.wantValue("k", "v")
			t.must(errOf(t.s.Remove(t.ctx, bs("k"), storage.IfValue(bs("v")))))
			t.wantAbsent("k")
			t.wantCode(errOf(t.s.Remove(t.ctx, bs("k"), storage.IfPresent())), storage.Conflict)
			t.must(errOf(t.s.Remove(t.ctx, bs("k"), storage.IfAbsent())))
			t.wantAbsent("k")
		}),
		is("expect_version", storage.CapVersions, expectVersion),
		is("a_version_never_matches_again", storage.CapVersions, func(t *T) {
			t.set("k", "v")
			v := t.item("k").Version
			t.set("k", "other")
			t.set("k", "v") // the value is back, the version is not
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfVersion(v))), storage.Conflict)
			v = t.item("k").Version
			t.del("k")
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfVersion(v))), storage.Conflict)
			t.set("k", "v")
			t.wantCode(errOf(t.s.Remove(t.ctx, bs("k"), storage.IfVersion(v))), storage.Conflict)
			t.wantValue("k", "v")
		}),
		is("failure_changes_nothing", 0, func(t *T) {
			t.set("k", "v")
			before := t.item("k")
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfAbsent())), storage.Conflict)
			if after := t.item("k"); string(after.Value) != "v" || after.Version != before.Version {
				t.Errorf("a failed compare-and-set left %+v of %+v", after, before)
			}
		}),
		is("the_first_failing_check_is_named", storage.CapCheckOnly, func(t *T) {
			t.setAll("a", "b", "c")
			good := storage.Present(bs("a"))
			bad := storage.Absent(bs("b"))
			worse := storage.HasValue(bs("c"), bs("x"))
			t.wantConflict(0, []storage.Check{bad, worse, good}, storage.Put(bs("a"), bs("x")))
			t.wantConflict(1, []storage.Check{good, bad, worse}, storage.Put(bs("a"), bs("x")))
			t.wantConflict(2, []storage.Check{good, good, worse, bad}, storage.Put(bs("a"), bs("x")))
			t.wantValue("a", "a")
		}),
		is("zero_expectation_is_refused", 0, func(t *T) {
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.Condition{})), storage.InvalidArgument)
			t.wantAbsent("k")
		}),
		is("range_check", storage.CapRangeCheck|storage.CapVersions, rangeCheck),
		long("range_check_of_many_keys", storage.CapRangeCheck|storage.CapVersions|storage.CapAtomic|storage.CapCheckOnly, largeRangeCheck),
		is("range_check_and_expiry", storage.CapRangeCheck|storage.CapVersions|storage.CapTTL, rangeCheckAndExpiry),
		is("the_check_of_a_large_number_is_named", storage.CapCheckOnly, checksBeyond255),
		is("json", 0, jsonHelpers),
	)
}

// absentAndEmpty is every pair of what is expected and what is there.
func absentAndEmpty(t *T) {
	empty, absent := storage.IfValue(bs("")), storage.IfAbsent()
	try := func(e storage.Condition) error { return errOf(t.s.Put(t.ctx, bs("k"), bs("new"), e)) }
	t.wantCode(try(empty), storage.Conflict)
	t.wantAbsent("k")
	t.set("k", "")
	t.wantCode(try(absent), storage.Conflict)
	t.wantValue("k", "")
	t.must(try(storage.IfValue(nil))) // nil is the empty value
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
		t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfVersion(wrong))), storage.Conflict)
	}
	t.wantCode(errOf(t.s.Put(t.ctx, bs("absent"), bs("x"), storage.IfVersion(v))), storage.Conflict)
	t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfVersion(0))), storage.InvalidArgument)
	t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("w"), storage.IfVersion(v))))
	t.wantValue("k", "w")
	t.wantCode(errOf(t.s.Remove(t.ctx, bs("k"), storage.IfVersion(v))), storage.Conflict)
	t.must(errOf(t.s.Remove(t.ctx, bs("k"), storage.IfVersion(t.item("k").Version))))
	t.wantAbsent("k")
}

// rangeCheck is about live keys that are newer: bounds count, deletes do not.
func rangeCheck(t *T) {
	t.setAll("a", "b", "c")
	seen := t.scan(storage.Query{}).Version
	newer := func(start, end []byte, v uint64) error {
		return t.try([]storage.Check{storage.NoneNewer(start, end, v)}, storage.Put(bs("z"), bs("v")))
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
	_, err := storage.GetJSON[person](t.ctx, t.s, key)
	t.wantCode(err, storage.NotFound)
	t.must(errOf(storage.PutJSON(t.ctx, t.s, key, person{"<Ann & Bo>", 1}, storage.IfAbsent())))
	t.wantValue("k", `{"Name":"<Ann & Bo>","Age":1}`)
	raw, err := t.s.Get(t.ctx, key)
	t.must(err)
	p, err := storage.DecodeJSON[person](raw)
	t.must(err)
	p.Age++
	t.must(errOf(storage.PutJSON(t.ctx, t.s, key, p, storage.IfValue(raw))))
	t.wantCode(errOf(storage.PutJSON(t.ctx, t.s, key, p, storage.IfValue(raw))), storage.Conflict)
	t.wantValue("k", `{"Name":"<Ann & Bo>","Age":2}`)
	t.must(storage.UpdateJSON(t.ctx, t.s, key, func(p *person) error { p.Age *= 10; return nil }))
	t.wantValue("k", `{"Name":"<Ann & Bo>","Age":20}`)
}
