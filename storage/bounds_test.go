package storage_test

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/storage"
)

// A cut bound is short, and selects the same keys as a start and as an end, be it of
// a query, a check or a range delete.
func TestCutBoundsSelectTheSame(t *testing.T) {
	few := rapid.SampledFrom([]byte{0x00, 'a', 'b', 0xFF})
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 4).Draw(t, "longest key")
		key := rapid.SliceOfN(few, 0, most).Draw(t, "key")
		bound := func(name string) []byte {
			if rapid.IntRange(0, 5).Draw(t, name+" kind") == 0 {
				return nil
			}
			b := rapid.SliceOfN(few, 0, 8).Draw(t, name)
			if rapid.Bool().Draw(t, name+" begins with the key") {
				b = slices.Concat(key, b)
			}
			return b
		}
		start, end := bound("start"), bound("end")
		l := storage.Limits{Key: most}
		q := storage.Query{Start: start, End: end}.Cut(l)
		if len(q.Start) > most+1 || len(q.End) > most+1 || (q.End == nil) != (end == nil) {
			t.Fatalf("%x, %x are cut to %x, %x", start, end, q.Start, q.End)
		}
		if storage.InRange(key, q.Start, q.End) != storage.InRange(key, start, end) {
			t.Fatalf("%x in [%x, %x) and in [%x, %x)", key, start, end, q.Start, q.End)
		}
		if storage.EmptyRange(start, end) && !storage.EmptyRange(q.Start, q.End) {
			t.Fatalf("[%x, %x) is empty, [%x, %x) is not", start, end, q.Start, q.End)
		}
		w := &storage.WriteSet{Checks: []storage.Check{storage.HasValue(key, start), {Kind: storage.CheckRange, Key: start, End: end}},
			Ops: []storage.Op{storage.Put(key, end), storage.DeleteRange(start, end)}}
		before := *w
		before.Checks, before.Ops = slices.Clone(w.Checks), slices.Clone(w.Ops)
		cut := w.Cut(l)
		c, o := cut.Checks[1], cut.Ops[1]
		if !bytes.Equal(c.Key, q.Start) || !bytes.Equal(c.End, q.End) || !bytes.Equal(o.Key, q.Start) || !bytes.Equal(o.End, q.End) || (c.End == nil) != (end == nil) || (o.End == nil) != (end == nil) {
			t.Fatalf("the query has [%x, %x), check and op [%x, %x) and [%x, %x)", q.Start, q.End, c.Key, c.End, o.Key, o.End)
		}
		if !bytes.Equal(cut.Checks[0].Value, start) || !bytes.Equal(cut.Ops[0].Value, end) || !bytes.Equal(w.Checks[1].Key, before.Checks[1].Key) || !bytes.Equal(w.Ops[1].Key, before.Ops[1].Key) {
			t.Fatal("something else was cut")
		}
	})
}

// Where a reverse page goes on below the uncut start there is nothing left.
func TestResume(t *testing.T) {
	start := []byte("aaaa")
	for next, done := range map[string]bool{"aa": true, "aaa": true, "aaaa": true, "aaab": false, "b": false} {
		p := storage.Page{Next: []byte(next)}
		(&storage.Query{Start: start, Reverse: true}).Resume(&p)
		if (p.Next == nil) != done {
			t.Errorf("%s: %q", next, p.Next)
		}
		p = storage.Page{Next: []byte(next)}
		if (&storage.Query{Start: start}).Resume(&p); p.Next == nil {
			t.Errorf("%s: a scan that goes forward has ended", next)
		}
	}
}

// Keys that cannot be there are left out, and nothing is copied where none is.
func TestPossible(t *testing.T) {
	l := storage.Limits{Key: 2}
	keys := [][]byte{[]byte("a"), []byte("abc"), {}, []byte("ab"), []byte("abcd")}
	if got := l.Possible(keys); !slices.EqualFunc(got, [][]byte{[]byte("a"), {}, []byte("ab")}, bytes.Equal) {
		t.Errorf("%q", got)
	}
	if got := l.Possible(keys[2:4]); &got[0] != &keys[2] {
		t.Error("a copy")
	}
	if got := (&storage.Limits{}).Possible(keys); len(got) != len(keys) {
		t.Errorf("without a limit: %q", got)
	}
}
