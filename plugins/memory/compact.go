package memory

import (
	"encoding/binary"
	"math/bits"
)

// reserve sees to it that n slabs may be taken. Where there are not as many, items
// are moved out of slabs that are nearly empty into others of their class. What is
// charged is counted as if all slabs but one of each class were full, so as long as
// the charges are within the budget there is always one to be had.
func (s *store) reserve(n int) {
	for s.available() < n {
		c, ok := s.emptiest()
		if !ok {
			return // as much as this is there, by the charges: alloc would say so
		}
		s.evacuate(c)
	}
}

// emptiest returns the class with the most bytes in free slots, of those that would do
// with a slab less.
func (s *store) emptiest() (best uint8, ok bool) {
	most := uint32(0)
	for c := range classes {
		if free := s.freeSlots[c]; free >= classes[c].slots && free*classes[c].size > most {
			most, best, ok = free*classes[c].size, uint8(c), true
		}
	}
	return best, ok
}

// evacuate moves what is in the emptiest slab of a class into the others.
func (s *store) evacuate(c uint8) {
	level := bits.TrailingZeros8(s.some[c])
	at := s.lists[c][level]
	sl := s.slabs[at]
	s.unlink(at, &s.slabs[at])
	s.freeSlots[c] -= classes[c].slots - uint32(sl.used)
	size := classes[c].size
	for slot := uint32(0); slot < uint32(sl.carved); slot++ {
		if r := ref(at<<slabShift) + ref(slot*size/granule); s.at(r)[0] != kindFree {
			s.relocate(r, c)
		}
	}
	s.freeSlots[c] += classes[c].slots
	s.release(at, &s.slabs[at])
}

// relocate moves what is in a slot, and has everything that points to it know.
func (s *store) relocate(old ref, c uint8) {
	r := s.alloc(c)
	from, to := s.at(old), s.at(r)
	copy(to[:classes[c].size], from)
	switch {
	case to[0]&kindItem != 0:
		s.relocateItem(old, r)
	case to[0] == kindSegment:
		next, before := binary.LittleEndian.Uint32(to[4:]), ref(binary.LittleEndian.Uint32(to[8:]))
		if next != 0 {
			binary.LittleEndian.PutUint32(s.at(ref(next))[8:], uint32(r))
		}
		binary.LittleEndian.PutUint32(s.link(before), uint32(r))
	case to[0] == kindNode:
		t := &s.all
		if t.node(r).tree == s.deadlines.id {
			t = &s.deadlines
		}
		t.moved(old, r)
	case to[0] == kindBuckets:
		s.pages[binary.LittleEndian.Uint32(to[4:])] = r
	}
}

// link returns where an item or a segment has the segment that follows it.
func (s *store) link(r ref) []byte {
	b := s.at(r)
	if b[0] == kindSegment {
		return b[4:]
	}
	have := item(b).shape()
	head, _ := have.head()
	return b[head-4:]
}

func (s *store) relocateItem(old, r ref) {
	b := s.item(r)
	key := s.key(b)
	have := b.shape()
	if _, large := have.head(); large {
		binary.LittleEndian.PutUint32(s.at(ref(binary.LittleEndian.Uint32(s.link(r))))[8:], uint32(r))
	}
	s.all.replace(keyTarget(key, b.version()), r)
	if b.dead() {
		if next := b.next(); next != 0 {
			s.item(next).setBefore(r)
		}
		if before := b.before(); before != 0 {
			s.item(before).setNext(r)
		} else {
			s.snapshots.lists[b.list()] = r
		}
		return
	}
	s.index.replace(key, old, r)
	if have.expires != 0 {
		s.deadlines.replace(deadline(have.expires, key, b.version()), r)
	}
}
