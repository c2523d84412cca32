package storagetest

import (
	"bytes"
	"fmt"

	"github.com/plinthkv/plinth/storage"
)

// saneLimit is the largest limit that is tried out, in bytes and numbers; what
// is not limited is tried up to a size of its kind.
const saneLimit = 32 << 20

func limitChecks() []Check {
	return in("limits",
		is("key", 0, keyLimit),
		long("value", 0, valueLimit),
		long("ops", storage.CapAtomic, opsLimit),
		long("write_bytes", storage.CapAtomic, writeBytesLimit),
		long("ops_and_write_bytes_at_once", storage.CapAtomic, func(t *T) {
			ops, bytes := tryable(t.info.Limits.Ops, 20_000), tryable(t.info.Limits.WriteBytes, 4<<20)
			w := storage.WriteSet{Ops: manyOps(ops)}
			fill(&w, min(bytes, ops*100))
			_, err := t.b.Apply(t.ctx, &w)
			t.fits(err)
		}),
		is("bytes_that_are_compared_count", 0, countedBytes),
		is("a_value_that_is_compared_is_exempt", 0, comparedValues),
		is("get_keys", 0, getKeysLimit),
		long("large_answers", storage.CapAtomic, largeAnswers),
		is("size_comes_before_conflict", 0, func(t *T) {
			most := t.info.Limits.Value
			if most == 0 || most > saneLimit {
				t.notApplicable("values are not limited")
			}
			t.set("k", "v")
			large := make([]byte, most+1)
			t.wantLimit(errOf(t.s.Put(t.ctx, bs("k"), large, storage.IfAbsent())), "value", most, most+1)
			t.wantValue("k", "v")
		}),
		is("nothing_of_a_refused_write_set_stays", storage.CapAtomic, func(t *T) {
			most := t.info.Limits.Value
			if most == 0 || most > saneLimit {
				t.notApplicable("values are not limited")
			}
			t.setAll("a", "b")
			err := t.try(nil, storage.Put(bs("a"), bs("x")), storage.Delete(bs("b")), storage.Put(bs("c"), make([]byte, most+1)), storage.Put(bs("d"), bs("x")))
			t.wantLimit(err, "value", most, most+1)
			t.wantKeys(nil, nil, "a", "b")
			t.wantValue("a", "a")
		}),
		is("bounds_may_have_any_length", 0, func(t *T) {
			most := tryable(t.info.Limits.Key, 4<<10)
			long := bytes.Repeat(bs("m"), most+1)
			t.setAll("a", "z")
			t.wantKeys(long, nil, "z")
			t.wantKeys(nil, long, "a")
			t.must(errOf(t.s.ClearRange(t.ctx, long, append(long, 'x'))))
			t.wantKeys(nil, nil, "a", "z")
			if t.info.Limits.Key == 0 {
				return
			}
			// Those that are far longer than any key, and than any request, select as much.
			long = bytes.Repeat(bs("m"), 20<<20)
			t.wantKeys(long, nil, "z")
			t.wantKeys(nil, long, "a")
			t.must(errOf(t.s.ClearRange(t.ctx, long, append(long, 'x'))))
			t.wantKeys(nil, nil, "a", "z")
		}),
	)
}

// fits ends the check on an error. It says nothing about a backend that has less space than
// its limits allow one write set.
func (t *T) fits(err error) {
	if storage.CodeOf(err) == storage.NoSpace {
		t.notApplicable("there is no space for as much as the limits allow: " + err.Error())
	}
	t.must(err)
}

// tryable returns a limit as it is, or what is tried where there is none to speak of.
func tryable(limit, otherwise int) int {
	if limit == 0 || limit > saneLimit {
		return otherwise
	}
	return limit
}

// wantLimit demands a SizeLimit error that says which limit, and by how much.
func (t *T) wantLimit(err error, kind string, most, actual int) {
	e := t.wantCode(err, storage.SizeLimit)
	if want := (storage.Limit{Kind: kind, Max: int64(most), Actual: int64(actual)}); e.Limit != want {
		t.Fatalf("the error says %+v, want %+v", e.Limit, want)
	}
	if e.Unknown || e.Retryable() {
		t.Fatalf("a SizeLimit is neither retryable nor of unknown outcome: %+v", e)
	}
}

func keyLimit(t *T) {
	most := tryable(t.info.Limits.Key, 64<<10)
	exact := string(bytes.Repeat(bs("k"), most))
	t.set(exact, "v")
	t.wantValue(exact, "v")
	t.must(errOf(t.s.Put(t.ctx, bs(exact), bs("w"), storage.IfValue(bs("v")))))
	items, err := t.b.GetMany(t.ctx, [][]byte{bs(exact)})
	if err != nil || len(items) != 1 {
		t.Fatalf("GetMany of a key of %d bytes: %d items, %v", most, len(items), err)
	}
	if items := t.all(storage.Query{}); len(items) != 1 || string(items[0].Key) != exact {
		t.Fatalf("a scan does not give the key of %d bytes", most)
	}
	t.del(exact)
	t.wantAbsent(exact)
	if t.info.Limits.Key != most {
		return
	}
	long := bs(exact + "k")
	t.wantLimit(t.s.Set(t.ctx, long, bs("v")), "key", most, most+1)
	t.wantLimit(t.s.Delete(t.ctx, long), "key", most, most+1)
	t.wantLimit(errOf(t.s.Put(t.ctx, long, nil, storage.IfAbsent())), "key", most, most+1)
	if t.has(storage.CapCheckOnly) {
		t.wantLimit(t.try([]storage.Check{storage.Absent(long)}, storage.Put(bs("k"), nil)), "key", most, most+1)
	}
	// A key that cannot be there is absent, or refused.
	if _, err := t.b.Get(t.ctx, long); storage.CodeOf(err) != storage.NotFound && storage.CodeOf(err) != storage.SizeLimit {
		t.Errorf("Get of a key beyond the limit: %v", err)
	}
	if items, err := t.b.GetMany(t.ctx, [][]byte{long}); len(items) > 0 || err != nil && storage.CodeOf(err) != storage.SizeLimit {
		t.Errorf("GetMany of a key beyond the limit: %d items, %v", len(items), err)
	}
	t.wantKeys(nil, nil)
}

func valueLimit(t *T) {
	most := tryable(t.info.Limits.Value, 8<<20)
	if w := t.info.Limits.WriteBytes; w > 0 {
		most = min(most, w-len("k"))
	}
	exact := bytes.Repeat(bs("v"), most)
	t.fits(t.try(nil, storage.Put(bs("k"), exact)))
	if it := t.item("k"); !bytes.Equal(it.Value, exact) {
		t.Fatalf("a value of %d bytes comes back as one of %d", most, len(it.Value))
	}
	items, err := t.s.GetMany(t.ctx, [][]byte{bs("k")})
	if err != nil || len(items) != 1 || !bytes.Equal(items[0].Value, exact) {
		t.Fatalf("GetMany of a value of %d bytes: %d items, %v", most, len(items), err)
	}
	if items := t.all(storage.Query{}); len(items) != 1 || !bytes.Equal(items[0].Value, exact) {
		t.Fatalf("a scan does not give the value of %d bytes", most)
	}
	if t.info.Limits.Value != most {
		return
	}
	t.wantLimit(t.s.Set(t.ctx, bs("k"), append(exact, 'v')), "value", most, most+1)
	if it := t.item("k"); !bytes.Equal(it.Value, exact) {
		t.Fatalf("a refused write changed the value")
	}
}

// manyOps returns n ops on as many small keys, with no values.
func manyOps(n int) []storage.Op {
	ops := make([]storage.Op, n)
	for i := range ops {
		ops[i] = storage.Put(fmt.Appendf(nil, "%07d", i), nil)
	}
	return ops
}

// fill gives the puts of w values, so that w has exactly total bytes.
func fill(w *storage.WriteSet, total int) {
	for i := range w.Ops {
		total -= len(w.Ops[i].Key)
	}
	total = max(total, 0)
	each, rest := total/len(w.Ops), total%len(w.Ops)
	value := make([]byte, each+1)
	for i := range w.Ops { // no value is longer than it needs to be: they have a limit too
		w.Ops[i].Value = value[:each]
		if i < rest {
			w.Ops[i].Value = value
		}
	}
}

func opsLimit(t *T) {
	most := tryable(t.info.Limits.Ops, 20_000)
	if b := t.info.Limits.WriteBytes; b > 0 {
		most = min(most, b/10)
	}
	t.fits(t.try(nil, manyOps(most)...))
	t.wantItems(fmt.Sprintf("what %d ops leave", most), t.all(storage.Query{KeysOnly: true}), numbered("%07d", most))
	if t.info.Limits.Ops != most {
		return
	}
	t.wantLimit(t.try(nil, append(manyOps(most), storage.Put(bs("more"), nil))...), "ops", most, most+1)
	t.wantAbsent("more")
	check := []storage.Check{storage.Absent(bs("more"))} // checks count too
	t.wantLimit(t.try(check, append(manyOps(most-1), storage.Put(bs("more"), nil))...), "ops", most, most+1)
	t.wantAbsent("more")
	t.must(t.try(check, append(manyOps(most-2), storage.Put(bs("more"), nil))...))
	t.wantValue("more", "")
}

func writeBytesLimit(t *T) {
	most := tryable(t.info.Limits.WriteBytes, 16<<20)
	n := 4
	if v := t.info.Limits.Value; v > 0 {
		n = max(n, most/v+2)
	}
	exact := storage.WriteSet{Ops: manyOps(n)}
	fill(&exact, most)
	_, err := t.b.Apply(t.ctx, &exact)
	t.fits(err)
	for _, o := range exact.Ops {
		if it := t.item(string(o.Key)); !bytes.Equal(it.Value, o.Value) {
			t.Fatalf("%q holds %s", o.Key, quote(it.Value))
		}
	}
	if t.info.Limits.WriteBytes != most {
		return
	}
	more := storage.WriteSet{Ops: append(exact.Ops[:n:n], storage.Put(bs("m"), nil))}
	_, err = t.b.Apply(t.ctx, &more)
	t.wantLimit(err, "write set bytes", most, most+1)
	t.wantAbsent("m")
	exact.Checks = []storage.Check{storage.Present(exact.Ops[0].Key)} // checks count too
	_, err = t.b.Apply(t.ctx, &exact)
	t.wantLimit(err, "write set bytes", most, most+len(exact.Ops[0].Key))
}

func getKeysLimit(t *T) {
	most := tryable(t.info.Limits.GetKeys, 20_000)
	t.setAll("a", "b")
	keys := make([][]byte, most, most+1)
	for i := range keys {
		keys[i] = []byte{"abx"[i%3]}
	}
	want := most - most/3
	items, err := t.b.GetMany(t.ctx, keys)
	if err != nil || len(items) != want {
		t.Fatalf("GetMany of %d keys: %d items, %v, want %d", most, len(items), err, want)
	}
	keys = append(keys, bs("x"))
	items, err = t.s.GetMany(t.ctx, keys) // a Store splits
	if err != nil || len(items) != want {
		t.Fatalf("Store.GetMany of %d keys: %d items, %v, want %d", most+1, len(items), err, want)
	}
	if t.info.Limits.GetKeys == most {
		_, err := t.b.GetMany(t.ctx, keys)
		t.wantLimit(err, "keys", most, most+1)
	}
}

// largeAnswers asks for much more than was ever written at once.
func largeAnswers(t *T) {
	n, size := 12, tryable(t.info.Limits.Value, 1<<20)
	size = min(size, 2<<20)
	if w := t.info.Limits.WriteBytes; w > 0 {
		size = min(size, w-10)
	}
	value := bytes.Repeat(bs("v"), size)
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "%02d", i)
		t.fits(t.try(nil, storage.Put(keys[i], value)))
	}
	for len(keys) < 4*n { // about 100 MB
		keys = append(keys, keys[:n]...)
	}
	if items, err := t.b.GetMany(t.ctx, keys); err != nil {
		t.wantCode(err, storage.RangeLimit)
	} else if len(items) != len(keys) {
		t.Fatalf("GetMany: %d items, want %d", len(items), len(keys))
	}
	items, err := t.s.GetMany(t.ctx, keys) // a Store asks for less at a time
	if err != nil || len(items) != len(keys) {
		t.Fatalf("Store.GetMany: %d items, %v, want %d", len(items), err, len(keys))
	}
	t.wantItems("a scan", t.all(storage.Query{MaxBytes: 1 << 40}), numbered("%02d", n))
}
