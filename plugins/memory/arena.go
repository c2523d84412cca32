package memory

import "math/bits"

// ref is where something is kept: an offset into the arena, in granules. 0: nowhere.
type ref uint32

const (
	granule  = 8
	slabSize = 16 << 10
	// A chunk is what is asked of Go's allocator at once. All have one size and none
	// is ever given back, so that nothing comes to lie between them.
	chunkSize   = 256 << 10
	chunkSlabs  = chunkSize / slabSize
	chunkShift  = 15 // granules of a chunk, as a power of two
	slabShift   = 11
	maxSlot     = slabSize / 4
	fineClasses = 256 // up to this many bytes each multiple of a granule is a class
	maxClasses  = 96
	levels      = 8
)

// The first byte of a slot says what is in it. That of an item has the highest bit.
const (
	kindFree    = 0
	kindSegment = 1
	kindNode    = 2
	kindBuckets = 3
	kindItem    = 0x80
)

// arena is memory without pointers, of a bounded number of slabs. A slab has slots
// of one size, its class; an empty one may become one of another class. Those that
// are neither empty nor full are in a list by class and by how full they are: slots
// are taken from the fullest, so that the others run empty.
type arena struct {
	chunks    []*[chunkSize]byte
	slabs     []slab
	next      uint32 // the first slab that was never used
	most      uint32 // slabs
	unused    uint32 // the first of the slabs that are empty, linked by next
	nUnused   uint32
	lists     [maxClasses][levels]uint32
	some      [maxClasses]uint8  // a bit for each list that is not empty
	freeSlots [maxClasses]uint32 // in slabs of the class
}

type slab struct {
	class      uint8
	level      uint8
	used       uint16
	carved     uint16 // slots that were used at some time; those behind are as they were made
	free       uint16 // 1 + the first free one among those before; 0: none
	prev, next uint32
}

// class is a size of slots.
type class struct {
	size  uint32
	slots uint32 // of a slab
	share int64  // bytes of a slab for each slot, rounded up
}

// classes are the sizes, ascending; classFor has the smallest for a number of granules.
var classes, classFor = makeClasses()

func makeClasses() (c []class, of [maxSlot/granule + 1]uint8) {
	add := func(size int) {
		n := slabSize / size
		c = append(c, class{uint32(size), uint32(n), int64((slabSize + n - 1) / n)})
	}
	for size := 2 * granule; size <= fineClasses; size += granule {
		add(size)
	}
	for n := slabSize/fineClasses - 1; n >= slabSize/maxSlot; n-- {
		if size := slabSize / n &^ (granule - 1); size > int(c[len(c)-1].size) {
			add(size)
		}
	}
	at := 0
	for g := range of {
		for g*granule > int(c[at].size) {
			at++
		}
		of[g] = uint8(at)
	}
	return c, of
}

// classOf returns the class of a slot for n bytes, which are at most maxSlot.
func classOf(n int) uint8 { return classFor[(n+granule-1)/granule] }

// at returns the memory from r on.
func (a *arena) at(r ref) []byte { return a.chunks[r>>chunkShift][(r&(1<<chunkShift-1))*granule:] }

// available returns how many slabs may be taken.
func (a *arena) available() int { return int(a.nUnused) + int(a.most-min(a.most, a.next)) }

// held returns the bytes of all chunks, and of what describes them.
func (a *arena) held() int64 {
	return int64(len(a.chunks))*chunkSize + int64(cap(a.slabs))*24
}

// alloc returns a slot of the class. There has to be one, or a slab: see reserve.
func (a *arena) alloc(c uint8) ref {
	if a.some[c] == 0 {
		a.add(c)
	}
	level := uint8(bits.Len8(a.some[c]) - 1)
	at := a.lists[c][level]
	s := &a.slabs[at]
	size := classes[c].size
	start := ref(at << slabShift)
	var r ref
	if s.free != 0 {
		r = start + ref(uint32(s.free-1)*size/granule)
		b := a.at(r)
		s.free = uint16(b[2]) | uint16(b[3])<<8
	} else {
		r = start + ref(uint32(s.carved)*size/granule)
		s.carved++
	}
	s.used++
	a.freeSlots[c]--
	a.relevel(at, s)
	return r
}

// give takes a slot back.
func (a *arena) give(r ref) {
	at := uint32(r) >> slabShift
	s := &a.slabs[at]
	c := &classes[s.class]
	slot := uint32(r) & (1<<slabShift - 1) * granule / c.size
	b := a.at(r)
	b[0], b[2], b[3] = kindFree, byte(s.free), byte(s.free>>8)
	s.free = uint16(slot) + 1
	full := uint32(s.used) == c.slots
	s.used--
	a.freeSlots[s.class]++
	switch {
	case s.used == 0:
		if !full {
			a.unlink(at, s)
		}
		a.release(at, s)
	case full:
		a.link(at, s)
	default:
		a.relevel(at, s)
	}
}

// add makes a slab one of the class.
func (a *arena) add(c uint8) {
	at := a.unused
	if at != 0 {
		a.unused = a.slabs[at].next
		a.nUnused--
	} else {
		if a.next == a.most {
			panic("memory: the arena is used up") // reserve has seen to it
		}
		if at = a.next; at == 0 { // slab 0 is left out, so that no ref is 0
			at, a.next = 1, 1
		}
		if int(at/chunkSlabs) == len(a.chunks) {
			a.chunks = append(a.chunks, new([chunkSize]byte))
		}
		for int(at) >= len(a.slabs) {
			a.slabs = append(a.slabs, slab{})
		}
		a.next = at + 1
	}
	a.slabs[at] = slab{class: c}
	a.freeSlots[c] += classes[c].slots
	a.link(at, &a.slabs[at])
}

// release makes a slab, which is in no list, an unused one.
func (a *arena) release(at uint32, s *slab) {
	a.freeSlots[s.class] -= classes[s.class].slots
	*s = slab{next: a.unused}
	a.unused = at
	a.nUnused++
}

// reset gives all slots back.
func (a *arena) reset() {
	*a = arena{chunks: a.chunks, slabs: a.slabs[:0], most: a.most}
}

func (s *slab) levelNow() uint8 {
	return uint8(min(uint32(s.used)*levels/classes[s.class].slots, levels-1))
}

// relevel puts a slab into the list that it belongs to now, or none if it is full.
func (a *arena) relevel(at uint32, s *slab) {
	full := uint32(s.used) == classes[s.class].slots
	if !full && s.levelNow() == s.level {
		return
	}
	a.unlink(at, s)
	if !full {
		a.link(at, s)
	}
}

func (a *arena) link(at uint32, s *slab) {
	s.level = s.levelNow()
	head := &a.lists[s.class][s.level]
	s.prev, s.next = 0, *head
	if *head != 0 {
		a.slabs[*head].prev = at
	}
	*head = at
	a.some[s.class] |= 1 << s.level
}

func (a *arena) unlink(at uint32, s *slab) {
	if s.prev != 0 {
		a.slabs[s.prev].next = s.next
	} else {
		a.lists[s.class][s.level] = s.next
		if s.next == 0 {
			a.some[s.class] &^= 1 << s.level
		}
	}
	if s.next != 0 {
		a.slabs[s.next].prev = s.prev
	}
	s.prev, s.next = 0, 0
}
