package storagetest

import (
	"bytes"
	"fmt"

	"github.com/plinthkv/plinth/storage"
)

// Arguments are borrowed until a call returns, results belong to the caller.
func ownershipChecks() []Check {
	return in("ownership",
		is("arguments_are_not_kept", 0, func(t *T) {
			key, value := bs("key"), bs("value")
			t.apply(storage.Put(key, value))
			scribble(key, value)
			t.wantKeys(nil, nil, "key")
			t.wantValue("key", "value")
			key = bs("key")
			_, err := t.b.Get(t.ctx, key)
			t.must(err)
			scribble(key)
			_, err = t.b.Get(t.ctx, bs("key"))
			t.must(err)
			absent := bs("absent")
			_, err = t.b.Get(t.ctx, absent)
			t.wantCode(err, storage.NotFound)
			copy(absent, "key   ") // a cache that kept it would answer for another key
			t.set("absent", "v")
			t.wantValue("absent", "v")
		}),
		is("write_sets_are_not_kept", storage.CapAtomic, writeSetsAreNotKept),
		is("bounds_are_not_kept", 0, func(t *T) {
			t.setAll("a", "b", "c")
			start, end := bs("a"), bs("c")
			page := t.scan(storage.Query{Start: start, End: end, Limit: 1})
			scribble(start, end)
			if keysOf(page.Items) != keyList([]string{"a"}) || page.Next != nil && string(page.Next) > "b" {
				t.Fatalf("the page changed with its bounds: %s, Next %q", keysOf(page.Items), page.Next)
			}
			start, end = bs("b"), bs("c")
			t.must(errOf(t.s.ClearRange(t.ctx, start, end)))
			scribble(start, end)
			t.wantKeys(nil, nil, "a", "c")
		}),
		is("arguments_are_not_changed", 0, func(t *T) {
			key, value := append(make([]byte, 0, 64), "key"...), append(make([]byte, 0, 64), "value"...)
			whole := [][]byte{bytes.Clone(key[:64]), bytes.Clone(value[:64])}
			w := storage.WriteSet{Checks: []storage.Check{storage.Absent(key)}, Ops: []storage.Op{storage.Put(key, value)}}
			before := fmt.Sprintf("%+v", w)
			_, err := t.b.Apply(t.ctx, &w)
			t.must(err)
			_, err = t.b.Get(t.ctx, key)
			t.must(err)
			keys := [][]byte{key, value, key}
			_, err = t.b.GetMany(t.ctx, keys)
			t.must(err)
			t.scan(storage.Query{Start: key, End: value})
			if after := fmt.Sprintf("%+v", w); after != before {
				t.Errorf("Apply made %s of %s", after, before)
			}
			if !bytes.Equal(key[:64], whole[0]) || !bytes.Equal(value[:64], whole[1]) || &keys[0][0] != &key[0] {
				t.Errorf("a call wrote into its arguments")
			}
		}),
		is("results_are_the_callers", 0, resultsAreTheCallers),
		is("results_do_not_change_later", 0, func(t *T) {
			t.setAll("a", "b")
			got := t.item("a")
			many, err := t.b.GetMany(t.ctx, [][]byte{bs("a"), bs("b")})
			t.must(err)
			page := t.scan(storage.Query{})
			for range 20 { // let buffers be used again
				t.set("a", "x")
				t.set("b", "x")
				t.wantValue("a", "x")
				t.all(storage.Query{})
			}
			t.clear(nil, nil)
			if string(got.Value) != "a" || showItems(many) != showItems(page.Items) || string(page.Items[1].Value) != "b" {
				t.Errorf("results changed to %s, %s and %s", quote(got.Value), showItems(many), showItems(page.Items))
			}
		}),
	)
}

// scribble overwrites all of b, to its capacity.
func scribble(b ...[]byte) {
	for _, b := range b {
		b = b[:cap(b)]
		for i := range b {
			b[i] = '!'
		}
	}
}

func writeSetsAreNotKept(t *T) {
	w := &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("a"), bs("1")), storage.Put(bs("b"), bs("2")), storage.DeleteRange(bs("c"), bs("d"))}}
	t.set("c", "gone")
	if t.has(storage.CapIdempotent) {
		w.ID = [16]byte{1, 2, 3}
	}
	first, err := t.b.Apply(t.ctx, w)
	t.must(err)
	repeat := storage.WriteSet{ID: w.ID, Ops: []storage.Op{storage.Put(bs("a"), bs("1")), storage.Put(bs("b"), bs("2")), storage.DeleteRange(bs("c"), bs("d"))}}
	for i := range w.Ops {
		scribble(w.Ops[i].Key, w.Ops[i].Value, w.Ops[i].End)
		w.Ops[i] = storage.Op{}
	}
	t.wantKeys(nil, nil, "a", "b")
	t.wantValue("b", "2")
	if t.has(storage.CapIdempotent) {
		again, err := t.b.Apply(t.ctx, &repeat)
		if err != nil || again != first {
			t.Errorf("a repeat is not known any more: version %d, %v, want %d", again, err, first)
		}
	}
}

// resultsAreTheCallers writes into results, and over their ends, and reads again.
func resultsAreTheCallers(t *T) {
	t.setAll("a", "b", "c")
	check := func(how string) {
		for _, k := range []string{"a", "b", "c"} {
			if it := t.item(k); string(it.Value) != k {
				t.Errorf("after %s, %s holds %s", how, k, quote(it.Value))
			}
		}
		if got := showItems(t.all(storage.Query{})); got != `"a"="a"; "b"="b"; "c"="c"; ` {
			t.Errorf("after %s: %s", how, got)
		}
	}
	for range 2 { // the second time, it comes from a cache
		it := t.item("a")
		scribble(it.Value)
		check("writing into the value of a Get")
	}
	ask := [][]byte{bs("a"), bs("a"), bs("b")}
	items, err := t.b.GetMany(t.ctx, ask)
	t.must(err)
	t.separate("GetMany", items)
	check("writing into the items of a GetMany")
	page := t.scan(storage.Query{})
	t.separate("Scan", page.Items)
	check("writing into the items of a Scan")
	page = t.scan(storage.Query{KeysOnly: true, Limit: 2})
	t.separate("Scan of keys", page.Items)
	scribble(page.Next)
	check("writing into the keys of a Scan")
}

// separate demands that no item changes when another is written to or appended to.
func (t *T) separate(how string, items []storage.Item) {
	for i := range items {
		rest := showItems(items[i+1:])
		key, value := bytes.Clone(items[i].Key), bytes.Clone(items[i].Value)
		_ = append(items[i].Key, '!')
		if string(value) != string(items[i].Value) {
			t.Errorf("%s: appending to the key %q changes its value", how, key)
		}
		_ = append(items[i].Value, '!')
		for j := range items[i].Key {
			items[i].Key[j] = '!'
		}
		for j := range items[i].Value {
			items[i].Value[j] = '!'
		}
		if now := showItems(items[i+1:]); now != rest {
			t.Errorf("%s: writing into the item %q makes %s of %s", how, key, now, rest)
		}
	}
}
