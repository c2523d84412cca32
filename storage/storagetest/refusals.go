package storagetest

import (
	"bytes"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// firstRefusal has write sets that are wrong in several ways: too large comes before
// invalid, that before unsupported, and all of it before what depends on the state.
func firstRefusal(t *T) {
	t.set("k", "v")
	own, invalid := storage.Put(bs("k"), bs("changed")), storage.Op{Kind: 99, Key: bs("k")}
	fails := []storage.Check{storage.Absent(bs("k"))}
	refused := func(what string, want storage.Code, w storage.WriteSet) {
		if _, err := t.b.Apply(t.ctx, &w); storage.CodeOf(err) != want {
			t.Errorf("%s: %v, want %s", what, err, want.Name())
		}
		t.wantValue("k", "v")
	}
	refused("an unknown op under a check that fails", storage.InvalidArgument, storage.WriteSet{Checks: fails, Ops: []storage.Op{invalid}})
	refused("a check on version 0 behind one that fails", storage.InvalidArgument,
		storage.WriteSet{Checks: append(fails, storage.HasVersion(bs("k"), 0)), Ops: []storage.Op{own}})
	limited := t.info.Limits.Key > 0 && t.info.Limits.Key < saneLimit
	if limited {
		large := bytes.Repeat(bs("k"), t.info.Limits.Key+1)
		refused("a key that is too long under a check that fails", storage.SizeLimit, storage.WriteSet{Checks: fails, Ops: []storage.Op{storage.Put(large, nil)}})
		refused("a check of an unknown kind, and a key that is too long", storage.SizeLimit,
			storage.WriteSet{Checks: []storage.Check{{Kind: 99, Key: bs("k")}}, Ops: []storage.Op{storage.Put(large, nil)}})
		if t.has(storage.CapAtomic) {
			refused("an unknown op before a key that is too long", storage.SizeLimit, storage.WriteSet{Ops: []storage.Op{invalid, storage.Put(large, nil)}})
		}
	}
	for _, c := range []struct {
		lacks storage.Caps
		what  string
		w     storage.WriteSet
	}{
		{storage.CapIdempotent, "an ID", storage.WriteSet{ID: [16]byte{1}, Ops: []storage.Op{own}}},
		{storage.CapTTL, "an expiry", storage.WriteSet{Ops: []storage.Op{storage.PutUntil(bs("k"), bs("changed"), t.clock.Now().Add(time.Hour))}}},
		{storage.CapRangeCheck, "a range check", storage.WriteSet{Checks: []storage.Check{storage.NoneNewer(bs("x"), nil, 1)}, Ops: []storage.Op{own}}},
	} {
		if t.has(c.lacks) {
			continue
		}
		under, wrong := c.w, c.w
		under.Checks = append(append([]storage.Check{}, fails...), c.w.Checks...)
		wrong.Checks = append([]storage.Check{{Kind: 99, Key: bs("k")}}, c.w.Checks...)
		refused(c.what+" under a check that fails", storage.Unsupported, under)
		refused(c.what+" and a check of an unknown kind", storage.InvalidArgument, wrong)
	}
}

// ignoredFields sets fields of checks whose kind does not use them.
func ignoredFields(t *T) {
	t.set("k", "v")
	put := storage.Put(bs("k"), bs("v"))
	for _, c := range []storage.Check{
		{Kind: storage.CheckPresent, Key: bs("k"), End: bs("z"), Value: bs("w"), Version: 1},
		{Kind: storage.CheckPresent, Key: bs("k"), End: []byte{}},
		{Kind: storage.CheckValue, Key: bs("k"), Value: bs("v"), End: bs("a"), Version: 1},
	} {
		if err := t.try([]storage.Check{c}, put); err != nil {
			t.Errorf("%s, with fields that its kind does not use: %v", showChecks([]storage.Check{c}), err)
		}
	}
	absent := storage.Check{Kind: storage.CheckAbsent, Key: bs("new"), End: bs("z"), Value: bs("w"), Version: 1}
	if err := t.try([]storage.Check{absent}, storage.Put(bs("new"), nil)); err != nil {
		t.Errorf("%s, with fields that its kind does not use: %v", showChecks([]storage.Check{absent}), err)
	}
	if !t.has(storage.CapVersions) {
		return
	}
	at := storage.Check{Kind: storage.CheckVersion, Key: bs("k"), Version: t.item("k").Version, Value: bs("w"), End: bs("a")}
	if err := t.try([]storage.Check{at}, put); err != nil {
		t.Errorf("%s, with fields that its kind does not use: %v", showChecks([]storage.Check{at}), err)
	}
}

// putThenDelete changes something, although nothing is left of it.
func putThenDelete(t *T) {
	t.set("k", "v")
	before := t.item("k").Version
	v := t.apply(storage.Put(bs("a"), bs("1")), storage.Delete(bs("a")))
	if now := t.scan(storage.Query{}).Version; v <= before || now != v {
		t.Errorf("a put and a delete of its key answer version %d, and the store is at %d; want one above %d", v, now, before)
	}
}

// rangeCheckAndExpiry: what has expired is not there, and so not newer.
func rangeCheckAndExpiry(t *T) {
	t.set("z", "v")
	seen := t.item("z").Version
	t.setTTL("b", "v", time.Minute)
	checks := []storage.Check{storage.NoneNewer(bs("a"), bs("c"), seen)}
	t.wantConflict(0, checks, storage.Put(bs("z"), bs("v")))
	t.clock.Advance(time.Minute)
	if err := t.try(checks, storage.Put(bs("z"), bs("v"))); err != nil {
		t.Errorf("what is newer in the range has expired: %v", err)
	}
}

// checksBeyond255 has so many checks that the number of one that fails takes two bytes.
func checksBeyond255(t *T) {
	const n, bad = 400, 300
	if most := t.info.Limits.Ops; most > 0 && most < n+1 {
		t.notApplicable("a write set has fewer parts than that")
	}
	t.set("k", "v")
	checks := make([]storage.Check, n)
	for i := range checks {
		checks[i] = storage.Present(bs("k"))
	}
	checks[bad] = storage.Absent(bs("k"))
	t.wantConflict(bad, checks, storage.Put(bs("k"), bs("x")))
}
