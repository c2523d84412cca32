package storage

import (
	"bytes"
	"slices"
)

// Normalize validates w against info and gives it in the canonical form, for
// backends that cannot take ops that repeat or overlap: range deletes first,
// disjoint, not adjacent and in key order; then the last op of each key, in key
// order; and no range covers a key that has an op of its own. In any order the
// ops of the result do what those of w do in theirs. Inverted and empty ranges
// are gone. Checks stay as they are, so that an index still names the caller's
// check. Bounds are cut to what tells keys apart ([CutBound]). Keys and values are
// shared with w, which is left as it is.
//
// Cutting ranges may give more ops than w had: a backend whose wire has a limit
// of its own checks the result again.
func Normalize(w *WriteSet, info *Info) (*WriteSet, error) {
	if err := w.Validate(info); err != nil {
		return nil, err
	}
	w = w.Cut(info.Limits)
	n := &WriteSet{ID: w.ID, Checks: w.Checks}
	single, ranges := lastOps(w.Ops)
	for _, r := range mergeRanges(ranges) {
		n.Ops = append(n.Ops, cutRange(r, single)...)
	}
	for i := range single {
		o := &single[i]
		if o.Kind == OpDelete && coveredBy(ranges, o.Key) {
			continue
		}
		n.Ops = append(n.Ops, *o)
	}
	return n, nil
}

// lastOps gives the surviving op of each key, sorted by key, and all range
// deletes that cover anything. A put or delete that a later range covers is gone.
func lastOps(ops []Op) (single, ranges []Op) {
	type indexed struct {
		Op
		at int
	}
	var keyed []indexed
	for i := range ops {
		o := ops[i]
		if o.Kind != OpDeleteRange {
			keyed = append(keyed, indexed{o, i})
		} else if !EmptyRange(o.Key, o.End) {
			ranges = append(ranges, o)
			keyed = slices.DeleteFunc(keyed, func(k indexed) bool { return InRange(k.Key, o.Key, o.End) })
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

// mergeRanges sorts ranges and joins those that overlap or touch.
func mergeRanges(ranges []Op) []Op {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b Op) int { return bytes.Compare(a.Key, b.Key) })
	merged := sorted[:0]
	for _, r := range sorted {
		if len(merged) > 0 {
			last := &merged[len(merged)-1]
			if last.End == nil || bytes.Compare(r.Key, last.End) <= 0 {
				if last.End != nil && (r.End == nil || bytes.Compare(r.End, last.End) > 0) {
					last.End = r.End
				}
				continue
			}
		}
		merged = append(merged, r)
	}
	return merged
}

// cutRange is r without the keys that are put after it. Deletes inside are left
// to the range.
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

func coveredBy(ranges []Op, key []byte) bool {
	return slices.ContainsFunc(ranges, func(r Op) bool { return InRange(key, r.Key, r.End) })
}
