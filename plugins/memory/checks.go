package memory

import (
	"bytes"
	"container/heap"
	"slices"

	"github.com/plinthkv/plinth/storage"
)

// firstFailed returns the index of the first check that does not hold, or -1 if all hold.
func (s *store) firstFailed(checks []storage.Check, now int64) int {
	failed := -1
	for i := range checks {
		if checks[i].Kind != storage.CheckRange && !s.meets(&checks[i], now) {
			failed, checks = i, checks[:i]
			break
		}
	}
	if at := s.firstChanged(checks, now); at >= 0 {
		return at
	}
	return failed
}

// meets reports whether a check of one key holds.
func (s *store) meets(c *storage.Check, now int64) bool {
	r := s.live(c.Key, now)
	switch c.Kind {
	case storage.CheckAbsent:
		return r == 0
	case storage.CheckPresent:
		return r != 0
	case storage.CheckValue:
		return r != 0 && s.holds(s.item(r), c.Value)
	default:
		return r != 0 && s.base+s.item(r).version() == c.Version
	}
}

// firstChanged returns the index of the first range check with a live item that is newer than
// its version; -1: there is none. It walks the items of all ranges once, however much
// these overlap: n checks of a range of n items would otherwise look at their product.
func (s *store) firstChanged(checks []storage.Check, now int64) int {
	w := rangeWalk{s: s, checks: checks, now: now, failed: -1}
	for i := range checks {
		if c := &checks[i]; c.Kind == storage.CheckRange && c.Version < s.version && !storage.EmptyRange(c.Key, c.End) {
			w.ahead = append(w.ahead, i)
		}
	}
	slices.SortFunc(w.ahead, func(a, b int) int { return bytes.Compare(checks[a].Key, checks[b].Key) })
	for len(w.ahead) > 0 {
		w.island()
	}
	return w.failed
}

// rangeWalk is a walk over the items of range checks in the order of keys.
type rangeWalk struct {
	s      *store
	checks []storage.Check
	now    int64
	ahead  []int // the checks that begin further on, in the order of their keys
	open   []int // a heap by version of those that began and did not fail; they may have ended
	failed int   // the least index of those that failed; -1: none
}

// island walks the next ranges that touch each other.
func (w *rangeWalk) island() {
	first := &w.checks[w.ahead[0]]
	end := first.End
	w.open = w.open[:0]
	for c := w.s.all.seek(keyTarget(first.Key, 0)); ; c.next() {
		r := c.item()
		if r == 0 {
			w.ahead = nil
			return
		}
		b := w.s.item(r)
		key := w.s.key(b)
		for len(w.ahead) > 0 && bytes.Compare(w.checks[w.ahead[0]].Key, key) <= 0 {
			next := w.ahead[0]
			w.ahead = w.ahead[1:]
			heap.Push(w, next)
			if e := w.checks[next].End; end != nil && (e == nil || bytes.Compare(e, end) > 0) {
				end = e
			}
		}
		if end != nil && bytes.Compare(key, end) >= 0 {
			return
		}
		if !b.dead() && !b.expiredAt(w.now) {
			w.see(key, w.s.base+b.version())
		}
	}
}

// see judges the open checks by a live item.
func (w *rangeWalk) see(key []byte, version uint64) {
	for len(w.open) > 0 && w.checks[w.open[0]].Version < version {
		i := heap.Pop(w).(int)
		ended := w.checks[i].End != nil && bytes.Compare(key, w.checks[i].End) >= 0
		if !ended && (w.failed < 0 || i < w.failed) {
			w.failed = i
		}
	}
}

// Len, Less, Swap, Push and Pop are the heap of open checks.
func (w *rangeWalk) Len() int { return len(w.open) }
func (w *rangeWalk) Less(i, j int) bool {
	return w.checks[w.open[i]].Version < w.checks[w.open[j]].Version
}
func (w *rangeWalk) Swap(i, j int) { w.open[i], w.open[j] = w.open[j], w.open[i] }
func (w *rangeWalk) Push(i any)    { w.open = append(w.open, i.(int)) }
func (w *rangeWalk) Pop() any {
	i := w.open[len(w.open)-1]
	w.open = w.open[:len(w.open)-1]
	return i
}
