package memory

import "bytes"

// store is the items in an arena, with an index for keys, a tree for ranges, one for
// deadlines, and what only snapshots still see.
type store struct {
	arena
	index
	all       tree // live items, and dead ones
	deadlines tree // live items that expire
	snapshots snapshots

	base    uint64 // the version that items count theirs from
	version uint64
	max     int64
	used    int64 // charges of live items
	dead    int64 // charges of dead ones
}

// newStore returns an empty store at a version. It must not be copied.
func newStore(version uint64, max int64) *store {
	s := &store{base: version, version: version, max: max}
	s.index.seed = makeSeed()
	// Slots are counted in full slabs: each class may have one that is not, a write set
	// may take its own size again while it is done, and a few are for what is moved.
	const moving = 16
	s.most = uint32((max+writeReserve)/slabSize) + uint32(len(classes)) + moving + 1
	s.forget()
	return s
}

// writeReserve is what a write set may add at most before what it replaces is gone.
const writeReserve = 28 << 20

// forget makes everything empty.
func (s *store) forget() {
	s.arena.reset()
	s.index = index{a: &s.arena, seed: s.index.seed, pages: s.index.pages[:0]}
	s.all, s.deadlines = tree{a: &s.arena}, tree{a: &s.arena, id: 1}
	s.snapshots = snapshots{}
	s.used, s.dead = 0, 0
}

// live returns the item at key, 0 where there is none or it has expired.
func (s *store) live(key []byte, now int64) ref {
	if r := s.find(key); r != 0 && !s.item(r).expiredAt(now) {
		return r
	}
	return 0
}

func keyTarget(key []byte, version uint64) *target { return &target{prefix(key), key, version} }

func deadline(expires int64, key []byte, version uint64) *target {
	return &target{uint64(expires), key, version}
}

// put stores an item. There is room for it.
func (s *store) put(key, value []byte, expires int64, version uint64) {
	version -= s.base
	old := s.find(key)
	if old != 0 && s.overwrite(old, key, value, expires, version) {
		return
	}
	want := shape{len(key), len(value), expires}
	if n := want.slabsFor(); s.available() < n {
		s.reserve(n)
		old = s.find(key) // it may have been moved
	}
	r := s.write(key, value, &want, version)
	s.used += want.charge()
	switch {
	case old == 0:
		s.index.insert(key, r)
		s.all.insert(keyTarget(key, version), r)
	case s.seen(old):
		s.kill(old)
		s.index.insert(key, r)
		s.all.insert(keyTarget(key, version), r)
	default:
		b := s.item(old)
		have := b.shape()
		s.used -= have.charge()
		if have.expires != 0 {
			s.deadlines.delete(deadline(have.expires, key, b.version()))
		}
		s.index.replace(key, old, r)
		s.all.replace(keyTarget(key, b.version()), r)
		s.drop(old)
	}
	if expires != 0 {
		s.deadlines.insert(deadline(expires, key, version), r)
	}
}

// overwrite puts the value where the one before it is, if it has the same room there
// and no snapshot looks at it.
func (s *store) overwrite(r ref, key, value []byte, expires int64, version uint64) bool {
	h := s.headAt(r)
	at, expiring := itemHead, h.flags&flagExpires != 0
	if expiring {
		at += 8
	}
	at += len(key)
	have := at + h.valueLen()
	if want := at + len(value); want > maxSlot || have > maxSlot || classOf(want) != classOf(have) ||
		expiring != (expires != 0) || len(s.snapshots.kept) > 0 && s.seen(r) {
		return false
	}
	if !expiring {
		h.renew(len(value), version)
		copy(h.bytes(at, len(value)), value)
		return true
	}
	b := s.item(r)
	before := b.expires()
	if before != expires {
		if s.available() < 2 { // nodes may be split, and there is nothing to be moved now
			return false
		}
		s.deadlines.delete(deadline(before, key, b.version()))
	}
	b.set(&shape{len(key), len(value), expires}, version)
	copy(b[at:], value)
	if before != expires {
		s.deadlines.insert(deadline(expires, key, version), r)
	}
	return true
}

// remove takes a live item out, for snapshots to go on seeing it where they do.
func (s *store) remove(r ref) {
	if s.seen(r) {
		s.kill(r)
	} else {
		s.erase(r)
	}
}

// erase removes a live item, also from snapshots.
func (s *store) erase(r ref) {
	b := s.item(r)
	key := s.key(b)
	s.unlinkLive(r, b, key)
	s.all.delete(keyTarget(key, b.version()))
	s.drop(r)
}

// unlinkLive takes an item out of what has live ones alone.
func (s *store) unlinkLive(r ref, b item, key []byte) {
	have := b.shape()
	s.used -= have.charge()
	if have.expires != 0 {
		s.deadlines.delete(deadline(have.expires, key, b.version()))
	}
	s.index.remove(key, r)
}

// removeRange takes out what is in [start, end), and reports whether anything of it
// was live.
func (s *store) removeRange(start, end []byte, now int64) (changed bool) {
	if len(start) == 0 && end == nil {
		return s.clear(now)
	}
	var batch [256]ref
	var last []byte
	for from := keyTarget(start, 0); ; {
		n := 0
		s.ascend(from, end, func(r ref, _ item) bool {
			batch[n] = r
			n++
			return n < len(batch)
		})
		if n == len(batch) { // the next ones are behind the last: what is killed stays in the tree
			b := s.item(batch[n-1])
			last = append(last[:0], s.key(b)...)
			from = keyTarget(last, b.version()+1)
		}
		for _, r := range batch[:n] {
			changed = changed || !s.item(r).expiredAt(now)
			s.remove(r)
		}
		if n < len(batch) {
			return changed
		}
	}
}

// mostKept is how many items a snapshot may make a clear of everything look at: it
// is let go for more.
const mostKept = 10_000

// clear takes everything out.
func (s *store) clear(now int64) (changed bool) {
	if s.index.count == 0 {
		return false
	}
	if len(s.snapshots.kept) > 0 && s.index.count <= mostKept {
		if r := s.find(nil); r != 0 { // the empty key is before the first of the others
			changed = !s.item(r).expiredAt(now)
			s.remove(r)
		}
		return s.removeRange([]byte{0}, nil, now) || changed
	}
	changed = s.deadlines.count < s.index.count
	if !changed {
		c := s.deadlines.end()
		changed = c.prev() && !s.item(c.item()).expiredAt(now)
	}
	s.forget()
	return changed
}

// ascend visits the live items from a place to an end, expired ones too.
func (s *store) ascend(from *target, end []byte, visit func(ref, item) bool) {
	for c := s.all.seek(from); ; c.next() {
		r := c.item()
		if r == 0 {
			return
		}
		b := s.item(r)
		if end != nil && bytes.Compare(s.key(b), end) >= 0 {
			return
		}
		if !b.dead() && !visit(r, b) {
			return
		}
	}
}

// reap takes out at most n expired items, and reports whether there were as many.
// Nothing that anyone can see changes.
func (s *store) reap(now int64, n int) bool {
	for ; n > 0; n-- {
		r := s.deadlines.first()
		if r == 0 || !s.item(r).expiredAt(now) {
			return false
		}
		s.erase(r)
	}
	return true
}
