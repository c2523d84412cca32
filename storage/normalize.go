package storage

import (
	"bytes"
	"slices"

	"github.com/plinthkv/plinth/internal/keyrange"
)

// Normalize validates w against info and returns its canonical form, for
// backends that do not support repeated or overlapping ops: range deletes first,
// disjoint, not adjacent and in key order; then the last op of each key, in key
// order. No range covers a key with an op of its own. So the ops of the result
// have the same effect in any order. Inverted and empty ranges are gone. Checks
// stay unchanged, so that an index still names the caller's check. Bounds are
// cut by [CutBound]. The result shares keys and values with w, which stays
// unchanged.
//
// The result may have more ops than w, because ranges are split: a backend whose
// wire has a limit of its own checks the result again.
func Normalize(w *WriteSet, info *Info) (*WriteSet, error) {
	if err := w.Validate(info); err != nil {
		return nil, err
	}
	w = w.Cut(info.Limits)
	n := &WriteSet{ID: w.ID, Checks: w.Checks}
	single, ranges := lastOps(w.Ops)
	ranges.All(func(start, end []byte) bool {
		n.Ops = append(n.Ops, cutRange(DeleteRange(start, end), single)...)
		return true
	})
	for i := range single {
		o := &single[i]
		if o.Kind == OpDelete && ranges.Contains(o.Key) {
			continue
		}
		n.Ops = append(n.Ops, *o)
	}
	return n, nil
}

// lastOps gives the surviving op of each key, sorted by key, and the union of all
// range deletes. A put or delete that a later range covers is gone: going backwards,
// the ranges that were seen are the later ones.
func lastOps(ops []Op) (single []Op, ranges keyrange.Set) {
	type indexed struct {
		Op
		at int
	}
	var keyed []indexed
	for i := len(ops) - 1; i >= 0; i-- {
		if o := ops[i]; o.Kind == OpDeleteRange {
			ranges.Add(o.Key, o.End)
		} else if !ranges.Contains(o.Key) {
			keyed = append(keyed, indexed{o, i})
		}
	}
	slices.SortFunc(keyed, func(a, b indexed) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return a.at - b.at
	})
	for i := range keyed {
		if i+1 == len(keyed) || !bytes.Equal(keyed[i].Key, keyed[i+1].Key) {
			single = append(single, keyed[i].Op)
		}
	}
	return single, ranges
}

// cutRange returns r without the keys that are put after it. Deletes inside are left to the
// range.
func cutRange(r Op, single []Op) []Op {
	var parts []Op
	start := r.Key
	at, _ := slices.BinarySearchFunc(single, r.Key, func(o Op, key []byte) int { return bytes.Compare(o.Key, key) })
	for ; at < len(single); at++ {
		o := &single[at]
		if r.End != nil && bytes.Compare(o.Key, r.End) >= 0 {
			break
		}
		if o.Kind != OpPut {
			continue
		}
		if len(o.Key) > 0 && !EmptyRange(start, o.Key) { // the empty key may be nil: as an end, that is none
			parts = append(parts, DeleteRange(start, o.Key))
		}
		start = After(o.Key)
	}
	if !EmptyRange(start, r.End) {
		parts = append(parts, DeleteRange(start, r.End))
	}
	return parts
}
