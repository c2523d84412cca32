package keyrange

// Set holds a union of ranges.
type Set struct {
	ends Map[end] // by start; disjoint, and none touches the next
}

// end is where a range ends; open: nowhere.
type end struct {
	key  string
	open bool
}

// before reports whether e lies before other.
func (e end) before(other end) bool {
	return !e.open && (other.open || e.key < other.key)
}

// Len returns the number of ranges, after joining those that overlap or touch.
func (s *Set) Len() int { return s.ends.Len() }

// Add adds [start, to). An empty range adds nothing.
func (s *Set) Add(start, to []byte) {
	if to != nil && string(start) >= string(to) {
		return
	}
	last := end{string(to), to == nil}
	if at, have, ok := s.ends.Floor(start); ok && !have.before(end{key: string(start)}) {
		start = []byte(at)
		if last.before(have) {
			last = have
		}
	}
	// Those that begin within it or where it ends become a part of it. As they are
	// disjoint, only the last of them can end beyond it.
	var until []byte
	if !last.open {
		until = append([]byte(last.key), 0)
	}
	s.ends.Cut(start, until, func(_ string, have end) {
		if last.before(have) {
			last = have
		}
	})
	s.ends.Set(start, last)
}

// Contains reports whether a range covers key.
func (s *Set) Contains(key []byte) bool {
	_, have, ok := s.ends.Floor(key)
	return ok && (have.open || have.key > string(key))
}

// All calls f with each range, in order, until it returns false. f owns its arguments.
func (s *Set) All(f func(start, end []byte) bool) {
	s.ends.Ascend(nil, nil, func(start string, e end) bool {
		if e.open {
			return f([]byte(start), nil)
		}
		return f([]byte(start), []byte(e.key))
	})
}
