package storagetest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/plinthkv/plinth/storage"
)

func rangeChecks() []Check {
	return in("range",
		is("results_are_ordered", 0, func(t *T) {
			t.setAll("c", "a", "b")
			t.wantKeys(nil, nil, "a", "b", "c")
		}),
		is("end_is_excluded", 0, func(t *T) {
			t.setAll("a", "b", "c")
			t.wantKeys(bs("a"), bs("c"), "a", "b")
		}),
		is("end_is_included_by_its_successor", 0, func(t *T) {
			t.setAll("a", "b", "b\x00", "c")
			t.wantKeys(bs("a"), storage.After(bs("b")), "a", "b")
		}),
		is("start_is_excluded_by_its_successor", 0, func(t *T) {
			t.setAll("a", "b", "b\x00", "c")
			t.wantKeys(storage.After(bs("b")), nil, "b\x00", "c")
		}),
		is("empty_range", 0, func(t *T) {
			t.setAll("a", "b")
			t.wantKeys(bs("a"), bs("a"))
			t.wantKeys(bs("b"), bs("a"))
			t.wantKeys(nil, []byte{})
			t.wantKeys(bs("x"), []byte{})
		}),
		is("bounds", 0, rangeBounds),
		is("byte_order", 0, byteOrder),
		is("of_an_empty_store", 0, func(t *T) {
			t.wantKeys(nil, nil)
			t.wantKeys(bs("a"), bs("b"))
			t.wantKeys(bs("b"), bs("a"))
		}),
		is("empty_key", 0, func(t *T) {
			t.setAll("", "\x00", "a")
			t.wantKeys(nil, nil, "", "\x00", "a")
			t.wantKeys([]byte{}, bs("\x00"), "")
			t.wantKeys(bs("\x00"), nil, "\x00", "a")
		}),
		is("prefix", 0, prefixes),
		is("large_values", 0, func(t *T) {
			n := 1 << 20
			if most := t.info.Limits.Value; most > 0 {
				n = min(n, most)
			}
			large := bytes.Repeat(bs("x"), n)
			for _, k := range []string{"a", "b", "c"} {
				t.apply(storage.Put(bs(k), large))
			}
			items := t.all(storage.Query{Start: bs("a"), End: bs("c")})
			if len(items) != 2 || !bytes.Equal(items[0].Value, large) || !bytes.Equal(items[1].Value, large) {
				t.Fatalf("the large values do not come back: %s", keysOf(items))
			}
		}),
		long("of_random_keys", 0, rangesOfRandomKeys),
	)
}

// rangeBounds tries all kinds of bounds, on and between keys.
func rangeBounds(t *T) {
	after := storage.After
	t.setAll("a", "b", "c", "d", "e")
	for _, r := range []struct {
		start, end []byte
		want       []string
	}{
		{nil, bs("c"), []string{"a", "b"}},
		{nil, after(bs("c")), []string{"a", "b", "c"}},
		{bs("c"), nil, []string{"c", "d", "e"}},
		{after(bs("c")), nil, []string{"d", "e"}},
		{nil, nil, []string{"a", "b", "c", "d", "e"}},
		{bs("b"), after(bs("d")), []string{"b", "c", "d"}},
		{after(bs("a")), bs("e"), []string{"b", "c", "d"}},
		{after(bs("b")), after(bs("d")), []string{"c", "d"}},
		{bs("b"), bs("d"), []string{"b", "c"}},
		{bs("c"), after(bs("c")), []string{"c"}},
		{bs("z"), after(bs("z")), nil},
		{after(bs("c")), bs("c"), nil},
		{bs("b"), bs("ba"), []string{"b"}},
		{bs("aa"), bs("cc"), []string{"b", "c"}},
		{bs("f"), nil, nil},
		{nil, bs("a"), nil},
		{bs("e"), bs("\xff\xff"), []string{"e"}},
		{bs("d"), bs("b"), nil},
		{bs("zz"), bs("m"), nil},
		{bs("m"), bs("n"), nil},
	} {
		t.wantKeys(r.start, r.end, r.want...)
	}
}

// byteOrder has all one-byte keys, and neighbours of 0x00 and 0xFF.
func byteOrder(t *T) {
	var want []string
	for b := 255; b >= 0; b-- {
		want = append(want, string([]byte{byte(b)}))
	}
	want = append(want, "", "\x00\x00", "\x00\xff", "\xfe\xff", "\xff\x00", "\xff\xff", "a\x00", "a\xff")
	var ops []storage.Op
	for _, k := range want {
		ops = append(ops, storage.Put(bs(k), bs(k)))
	}
	t.each(ops)
	slices.Sort(want)
	t.wantKeys(nil, nil, want...)
	t.wantKeys(bs("\xff"), nil, "\xff", "\xff\x00", "\xff\xff")
	t.wantKeys(nil, bs("\x01"), "", "\x00", "\x00\x00", "\x00\xff")
	t.wantKeys(bs("a\x00"), bs("b"), "a\x00", "a\xff")
	t.wantKeys(bs("\x7f"), bs("\x81"), "\x7f", "\x80")
}

// each applies ops one at a time, or as many at once as the backend can.
func (t *T) each(ops []storage.Op) {
	most := 1
	if t.has(storage.CapAtomic) {
		most = tryable(t.info.Limits.Ops, len(ops))
	}
	for part := range slices.Chunk(ops, max(most, 1)) {
		t.apply(part...)
	}
}

func prefixes(t *T) {
	t.setAll("", "a", "ab", "ab\x00", "ab\xff", "ab\xff\xff", "ac", "b", "\xff", "\xff\xff", "\xff\xffz")
	for _, p := range []struct {
		prefix string
		want   []string
	}{
		{"ab", []string{"ab", "ab\x00", "ab\xff", "ab\xff\xff"}},
		{"ab\xff", []string{"ab\xff", "ab\xff\xff"}},
		{"\xff", []string{"\xff", "\xff\xff", "\xff\xffz"}},
		{"\xff\xff", []string{"\xff\xff", "\xff\xffz"}},
		{"b", []string{"b"}},
		{"x", nil},
		{"", []string{"", "a", "ab", "ab\x00", "ab\xff", "ab\xff\xff", "ac", "b", "\xff", "\xff\xff", "\xff\xffz"}},
	} {
		t.wantKeys(bs(p.prefix), storage.PrefixEnd(bs(p.prefix)), p.want...)
		var got []string
		for it, err := range t.s.Prefix(t.ctx, bs(p.prefix), storage.RangeOptions{}) {
			t.must(err)
			got = append(got, string(it.Key))
		}
		if !slices.Equal(got, p.want) {
			t.Errorf("Prefix(%q) = %q, want %q", p.prefix, got, p.want)
		}
	}
}

// rangesOfRandomKeys holds ranges with random bounds to a count by hand.
func rangesOfRandomKeys(t *T) {
	r := newRand()
	var keys []string
	for range 300 {
		k := make([]byte, r.IntN(4))
		for i := range k {
			k[i] = "\x00\x01amz\xfe\xff"[r.IntN(7)]
		}
		t.set(string(k), "v")
		keys = append(keys, string(k))
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	bound := func() []byte {
		if r.IntN(10) == 0 {
			return nil
		}
		return bs(keys[r.IntN(len(keys))] + []string{"", "", "\x00", "m"}[r.IntN(4)])
	}
	for range 200 {
		q := storage.Query{Start: bound(), End: bound(), Reverse: t.has(storage.CapReverse) && r.IntN(2) == 0, KeysOnly: r.IntN(2) == 0}
		var want []string
		for _, k := range keys {
			if storage.InRange(bs(k), q.Start, q.End) {
				want = append(want, k)
			}
		}
		if q.Reverse {
			slices.Reverse(want)
		}
		q.Limit = r.IntN(3) * r.IntN(50)
		t.wantWalk(q, want)
		if q.Limit > 0 && len(want) > q.Limit {
			want = want[:q.Limit]
		}
		if got := keysOf(t.all(q)); got != keyList(want) {
			t.Fatalf("%s = %s, want %s", showQuery(q), got, keyList(want))
		}
	}
	t.wantKeys(nil, nil, keys...)
	for i := 0; len(keys) > 0; i++ { // clear one random range after the other
		start, end := bound(), bound()
		if i > 50 {
			start, end = nil, nil
		}
		t.must(errOf(t.s.ClearRange(t.ctx, start, end)))
		keys = slices.DeleteFunc(keys, func(k string) bool { return storage.InRange(bs(k), start, end) })
		if got := keysOf(t.all(storage.Query{})); got != keyList(keys) {
			t.Fatalf("after a clear of [%q, %q): %s, want %s", start, end, got, keyList(keys))
		}
		if len(keys) > 0 && len(keys) < 5 {
			keys = append(keys, fmt.Sprint("k", i))
			t.set(keys[len(keys)-1], "v")
			slices.Sort(keys)
			keys = slices.Compact(keys)
		}
	}
}
