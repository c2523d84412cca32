package storage_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/storage"
)

// able is an Info with every capability and no limits.
func able() *storage.Info { return &storage.Info{Name: "able", Caps: ^storage.Caps(0)} }

// run does ops on items one by one, in the plainest way.
func run(items map[string]string, ops []storage.Op) map[string]string {
	items = maps.Clone(items)
	for _, o := range ops {
		switch o.Kind {
		case storage.OpPut:
			items[string(o.Key)] = fmt.Sprint(string(o.Value), o.ExpiresAt.UnixMilli())
		case storage.OpDelete:
			delete(items, string(o.Key))
		default:
			maps.DeleteFunc(items, func(k, _ string) bool {
				return k >= string(o.Key) && (o.End == nil || k < string(o.End))
			})
		}
	}
	return items
}

var someKeys = []string{"", "\x00", "a", "a\x00", "a\x00\x00", "ab", "b", "c", "\xff", "\xff\xff"}

func anyKey() *rapid.Generator[[]byte] {
	return rapid.Map(rapid.SampledFrom(someKeys), func(s string) []byte { return []byte(s) })
}

func anyOp() *rapid.Generator[storage.Op] {
	return rapid.Custom(func(t *rapid.T) storage.Op {
		key := anyKey().Draw(t, "key")
		switch rapid.IntRange(0, 4).Draw(t, "op") {
		case 0:
			return storage.Delete(key)
		case 1:
			return storage.DeleteRange(key, anyKey().Draw(t, "end"))
		case 2:
			return storage.DeleteRange(key, nil)
		case 3:
			return storage.PutUntil(key, []byte("t"), time.UnixMilli(int64(rapid.IntRange(1, 9).Draw(t, "until"))))
		}
		return storage.Put(key, []byte(rapid.StringN(0, 2, 2).Draw(t, "value")))
	})
}

// The result does what the ops did in their order, whatever order it is done in,
// and has the form that its comment promises.
func TestNormalizeDoesTheSameInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := map[string]string{}
		for _, k := range rapid.SliceOfDistinct(rapid.SampledFrom(someKeys), rapid.ID).Draw(t, "stored") {
			before[k] = "stored"
		}
		w := &storage.WriteSet{ID: [16]byte{7}, Checks: []storage.Check{storage.Absent([]byte("x"))},
			Ops: rapid.SliceOfN(anyOp(), 0, 12).Draw(t, "ops")}
		as := fmt.Sprint(*w)
		n, err := storage.Normalize(w, able())
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(*w) != as {
			t.Fatalf("Normalize changed its argument")
		}
		if n.ID != w.ID || len(n.Checks) != 1 {
			t.Fatalf("the ID or the checks are gone: %+v", n)
		}
		canonical(t, n.Ops)
		want := run(before, w.Ops)
		shuffled := rapid.Permutation(n.Ops).Draw(t, "order")
		if got := run(before, shuffled); !maps.Equal(got, want) {
			t.Fatalf("%q\nin the order %+v\nbecomes %q, want %q", before, shuffled, got, want)
		}
	})
}

// canonical: range deletes, apart from each other and in order, then one op for
// each key, in order, that no range covers.
func canonical(t *rapid.T, ops []storage.Op) {
	ranges := 0
	for ranges < len(ops) && ops[ranges].Kind == storage.OpDeleteRange {
		r := ops[ranges]
		if storage.EmptyRange(r.Key, r.End) {
			t.Fatalf("the empty range %+v is left", r)
		}
		if ranges > 0 {
			if last := ops[ranges-1]; last.End == nil || bytes.Compare(last.End, r.Key) >= 0 {
				t.Fatalf("%+v and %+v touch, or are out of order", last, r)
			}
		}
		ranges++
	}
	single := ops[ranges:]
	for i, o := range single {
		if o.Kind == storage.OpDeleteRange {
			t.Fatalf("a range comes after a key")
		}
		if i > 0 && bytes.Compare(single[i-1].Key, o.Key) >= 0 {
			t.Fatalf("%q comes before %q", single[i-1].Key, o.Key)
		}
		if slices.ContainsFunc(ops[:ranges], func(r storage.Op) bool { return storage.InRange(o.Key, r.Key, r.End) }) {
			t.Fatalf("a range covers %q, which has an op of its own", o.Key)
		}
	}
}

func TestNormalizeExamples(t *testing.T) {
	k := func(s string) []byte { return []byte(s) }
	put, del, clear := storage.Put, storage.Delete, storage.DeleteRange
	for _, c := range []struct {
		name      string
		ops, want []storage.Op
	}{
		{"nothing", nil, nil},
		{"the last put wins", []storage.Op{put(k("a"), k("1")), put(k("a"), k("2"))}, []storage.Op{put(k("a"), k("2"))}},
		{"a delete wins over a put before", []storage.Op{put(k("a"), nil), del(k("a"))}, []storage.Op{del(k("a"))}},
		{"a put before a range is gone", []storage.Op{put(k("b"), nil), clear(k("a"), k("c"))}, []storage.Op{clear(k("a"), k("c"))}},
		{"a range is cut around a put after it", []storage.Op{clear(k("a"), k("c")), put(k("b"), nil)},
			[]storage.Op{clear(k("a"), k("b")), clear(k("b\x00"), k("c")), put(k("b"), nil)}},
		{"a put at its start", []storage.Op{clear(k("a"), k("c")), put(k("a"), nil)}, []storage.Op{clear(k("a\x00"), k("c")), put(k("a"), nil)}},
		{"a put that fills it", []storage.Op{clear(k("a"), k("a\x00")), put(k("a"), nil)}, []storage.Op{put(k("a"), nil)}},
		{"a delete in a range", []storage.Op{clear(k("a"), k("c")), del(k("b")), del(k("x"))}, []storage.Op{clear(k("a"), k("c")), del(k("x"))}},
		{"ranges that overlap", []storage.Op{clear(k("b"), k("d")), clear(k("a"), k("c"))}, []storage.Op{clear(k("a"), k("d"))}},
		{"ranges that touch", []storage.Op{clear(k("b"), k("c")), clear(k("a"), k("b"))}, []storage.Op{clear(k("a"), k("c"))}},
		{"one within another", []storage.Op{clear(k("b"), k("c")), clear(k("a"), nil)}, []storage.Op{clear(k("a"), nil)}},
		{"empty and inverted ones", []storage.Op{clear(k("b"), k("a")), clear(k("a"), k("a")), clear(nil, []byte{})}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := storage.Normalize(&storage.WriteSet{Ops: c.ops}, able())
			if err != nil || fmt.Sprintf("%q", n.Ops) != fmt.Sprintf("%q", c.want) {
				t.Errorf("%+v\nwant %+v, %v", n.Ops, c.want, err)
			}
		})
	}
}

func TestNormalizeValidates(t *testing.T) {
	if _, err := storage.Normalize(&storage.WriteSet{Ops: []storage.Op{{Kind: 9}}}, able()); storage.CodeOf(err) != storage.InvalidArgument {
		t.Errorf("an op of an unknown kind: %v", err)
	}
}

// The empty key may be nil, as a decoder leaves it: it must not become the end of
// a part, which would be unbounded and remove every key.
func TestNormalizeCutsAtTheEmptyKey(t *testing.T) {
	for _, key := range [][]byte{nil, {}} {
		n, err := storage.Normalize(&storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(nil, []byte{1}), storage.Put(key, nil)}}, &storage.Info{Caps: ^storage.Caps(0)})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range n.Ops {
			if o.Kind == storage.OpDeleteRange && (string(o.Key) != "\x00" || string(o.End) != "\x01" || o.End == nil) {
				t.Errorf("put %#v: deletes [%q, %q), nil end: %t", key, o.Key, o.End, o.End == nil)
			}
		}
	}
}
