package storage

// CutBound returns the first maxKey+1 bytes of bound. No key of at most maxKey bytes lies
// between the result and bound, so ranges with either of them as start or end contain the
// same keys. If maxKey is 0, keys have no limit, and CutBound returns bound unchanged.
// The result shares the bytes of bound.
func CutBound(bound []byte, maxKey int) []byte {
	if maxKey <= 0 || len(bound)-1 <= maxKey {
		return bound
	}
	return bound[: maxKey+1 : maxKey+1]
}

// Cut returns q with bounds cut by [CutBound] for a backend with limits l. Carriers send
// the result in place of q, because a bound may have any length, and a request to a
// plugin may not.
func (q Query) Cut(l Limits) Query {
	q.Start, q.End = CutBound(q.Start, l.Key), CutBound(q.End, l.Key)
	return q
}

// Resume turns the page for a cut query into the page for q: a page that would continue
// below the uncut start of a reverse scan is the last one.
func (q *Query) Resume(p *Page) {
	if q.Reverse && p.Next != nil && EmptyRange(q.Start, p.Next) {
		p.Next = nil
	}
}

// Cut returns w with the bounds of its range checks and range deletes cut like those of
// [Query.Cut]. It returns w itself if none is too long. Otherwise the result shares
// everything but the list of checks or ops with w, which stays unchanged.
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

// Possible returns the keys within the limit. The others are absent, and need not be
// read. It returns keys itself if all are within the limit.
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
