package storage

// CutBound is bound, or as much of it as tells keys of at most maxKey bytes apart:
// its first maxKey+1 bytes. No such key lies between the two, so every range with
// either of them as its start or its end has the same keys. 0: keys have no limit,
// and the bound stays as it is. The result shares the bytes of bound.
func CutBound(bound []byte, maxKey int) []byte {
	if maxKey <= 0 || len(bound)-1 <= maxKey {
		return bound
	}
	return bound[: maxKey+1 : maxKey+1]
}

// Cut is q with its bounds cut to what tells the keys of a backend with limits l
// apart. A carrier sends this in place of q: a bound may have any length, and what
// a plugin is sent may not.
func (q Query) Cut(l Limits) Query {
	q.Start, q.End = CutBound(q.Start, l.Key), CutBound(q.End, l.Key)
	return q
}

// Resume is the answer to q as the answer to the query that q was cut from: a
// page that goes on below the uncut start of a reverse scan is the last one.
func (q *Query) Resume(p *Page) {
	if q.Reverse && p.Next != nil && EmptyRange(q.Start, p.Next) {
		p.Next = nil
	}
}

// Cut is w with the bounds of its range checks and range deletes cut as
// [Query.Cut] does it. It is w itself where none is too long, else it shares all
// but the list of checks or ops with w, which stays as it is.
func (w *WriteSet) Cut(l Limits) *WriteSet {
	cut := w
	for i := range w.Checks {
		if c := &w.Checks[i]; c.Kind == CheckRange && (tooLong(c.Key, l) || tooLong(c.End, l)) {
			if &cut.Checks[0] == &w.Checks[0] {
				copied := *cut
				copied.Checks = append([]Check(nil), w.Checks...)
				cut = &copied
			}
			cut.Checks[i].Key, cut.Checks[i].End = CutBound(c.Key, l.Key), CutBound(c.End, l.Key)
		}
	}
	for i := range w.Ops {
		if o := &w.Ops[i]; o.Kind == OpDeleteRange && (tooLong(o.Key, l) || tooLong(o.End, l)) {
			if &cut.Ops[0] == &w.Ops[0] {
				copied := *cut
				copied.Ops = append([]Op(nil), w.Ops...)
				cut = &copied
			}
			cut.Ops[i].Key, cut.Ops[i].End = CutBound(o.Key, l.Key), CutBound(o.End, l.Key)
		}
	}
	return cut
}

func tooLong(bound []byte, l Limits) bool { return l.Key > 0 && len(bound)-1 > l.Key }

// Possible are those of keys that are within the limit: the others are absent, and
// need not be asked for. It is keys itself where all are.
func (l Limits) Possible(keys [][]byte) [][]byte {
	for i, key := range keys {
		if !l.TooLong(key) {
			continue
		}
		possible := append([][]byte(nil), keys[:i]...)
		for _, key := range keys[i+1:] {
			if !l.TooLong(key) {
				possible = append(possible, key)
			}
		}
		return possible
	}
	return keys
}
