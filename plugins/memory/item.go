package memory

import (
	"bytes"
	"encoding/binary"
	"time"
	"unsafe"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// An item is a slot: this head; the expiry, in ms, if it has one; the first segment,
// if it does not fit into a slot; key and value.
type head struct {
	flags       uint8 // kindItem, and the flags below
	valueHigh   uint8
	valueLow    uint16
	key         uint16 // bytes; 65536 with flagLongKey
	versionLow  uint16
	versionHigh uint32 // the version is counted from that of the empty store
	next        ref    // in its bucket; of a dead one, in its list
	before      ref    // of a dead one, in its list
}

// What does not fit into the largest slot goes on in segments:
//
//	 0  u8   kindSegment
//	 4  u32  the next segment; 0: none
//	 8  u32  the one before, or the item
//	12       bytes
//
// Nothing has to lie together that is larger than a slot, so that nothing large has
// to be made room for.
const (
	flagExpires = 0x40
	flagLongKey = 0x20
	flagDead    = 0x10 // only snapshots see it; the lower bits say which list it is in
	slotBits    = 0x0F

	itemHead    = int(unsafe.Sizeof(head{}))
	segmentHead = 12
	segmentSize = maxSlot - segmentHead
)

// item is an item in the arena, from its first byte.
type item []byte

// head returns a view: slots are aligned as it has to be.
func (b item) head() *head { return (*head)(unsafe.Pointer(unsafe.SliceData(b))) }

// headAt returns the head of the item at r.
func (a *arena) headAt(r ref) *head {
	return (*head)(unsafe.Pointer(&a.chunks[r>>chunkShift][(r&(1<<chunkShift-1))*granule]))
}

func (h *head) keyLen() int   { return int(h.key) | int(h.flags&flagLongKey)<<11 }
func (h *head) valueLen() int { return int(h.valueLow) | int(h.valueHigh)<<16 }
func (h *head) version() uint64 {
	return uint64(h.versionLow) | uint64(h.versionHigh)<<16
}

// bytes are n bytes of the slot from an offset on. Not by unsafe.Slice: in a module that calls a
// function to multiply the length by one.
func (h *head) bytes(offset, n int) []byte {
	return (*[1 << 30]byte)(unsafe.Add(unsafe.Pointer(h), offset))[:n:n]
}

func (b item) expiring() bool  { return b.head().flags&flagExpires != 0 }
func (b item) dead() bool      { return b.head().flags&flagDead != 0 }
func (b item) list() int       { return int(b.head().flags & slotBits) }
func (b item) valueLen() int   { return b.head().valueLen() }
func (b item) keyLen() int     { return b.head().keyLen() }
func (b item) version() uint64 { return b.head().version() }
func (b item) next() ref       { return b.head().next }
func (b item) before() ref     { return b.head().before }

func (b item) setNext(r ref)   { b.head().next = r }
func (b item) setBefore(r ref) { b.head().before = r }

// set writes lengths, version and expiry.
func (b item) set(s *shape, version uint64) {
	h := b.head()
	h.flags = kindItem
	if s.expires != 0 {
		h.flags |= flagExpires
		binary.LittleEndian.PutUint64(b[itemHead:], uint64(s.expires))
	}
	if s.key > 0xFFFF {
		h.flags |= flagLongKey
	}
	h.key = uint16(s.key)
	h.renew(s.value, version)
}

// renew writes the length of the value and the version.
func (h *head) renew(value int, version uint64) {
	h.valueLow, h.valueHigh = uint16(value), uint8(value>>16)
	h.versionLow, h.versionHigh = uint16(version), uint32(version>>16)
}

// expires returns when it is no more, in ms; 0: never.
func (b item) expires() int64 {
	if !b.expiring() {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b[itemHead:]))
}

func (b item) expiredAt(now int64) bool { return b.expiring() && b.expires() <= now }

func (b item) shape() shape { return shape{b.keyLen(), b.valueLen(), b.expires()} }

// shape is what the size of an item follows from.
type shape struct {
	key, value int   // bytes
	expires    int64 // ms; 0: never
}

// head returns where key and value begin, and large whether they go on in segments.
func (s *shape) head() (head int, large bool) {
	head = itemHead
	if s.expires != 0 {
		head += 8
	}
	if large = head+s.key+s.value > maxSlot; large {
		head += 4
	}
	return head, large
}

// What an item takes beside its slots, in bytes: its part of the tree's nodes when
// they are as empty as they can be, of the index, and of the deadlines.
const (
	nodeCharge     = 26
	bucketCharge   = 4
	deadlineCharge = nodeCharge
)

// charge returns what an item counts against the budget, in bytes: all that it may take.
func (s *shape) charge() int64 {
	n := int64(nodeCharge + bucketCharge)
	if s.expires != 0 {
		n += deadlineCharge
	}
	head, large := s.head()
	if !large {
		return n + classes[classOf(head+s.key+s.value)].share
	}
	n += classes[classOf(maxSlot)].share
	rest := s.key + s.value - (maxSlot - head)
	n += int64(rest/segmentSize) * classes[classOf(maxSlot)].share
	if rest %= segmentSize; rest > 0 {
		n += classes[classOf(segmentHead+rest)].share
	}
	return n
}

func (a *arena) item(r ref) item { return item(a.at(r)) }

// parts visits the n bytes of key and value of an item from the first on, in pieces.
func (a *arena) parts(b item, first, n int, visit func(part []byte) bool) {
	s := b.shape()
	head, large := s.head()
	if !large {
		if n > 0 {
			visit(b[head+first : head+first+n])
		}
		return
	}
	part, next := []byte(b[head:maxSlot]), ref(binary.LittleEndian.Uint32(b[head-4:]))
	for n > 0 {
		if first < len(part) {
			part = part[first:min(len(part), first+n)]
			if n -= len(part); !visit(part) || n == 0 {
				return
			}
			first = 0
		} else {
			first -= len(part)
		}
		seg := a.at(next)
		part = seg[segmentHead:min(maxSlot, len(seg))] // the last one may be shorter
		next = ref(binary.LittleEndian.Uint32(seg[4:]))
	}
}

// append appends n bytes of key and value from the first on to dst.
func (a *arena) append(dst []byte, b item, first, n int) []byte {
	s := b.shape()
	if head, large := s.head(); !large {
		return append(dst, b[head+first:head+first+n]...)
	}
	a.parts(b, first, n, func(part []byte) bool {
		dst = append(dst, part...)
		return true
	})
	return dst
}

// key returns the item's key: a view, but for one that is longer than a slot.
func (a *arena) key(b item) []byte {
	head := itemHead
	if b.expiring() {
		head += 8
	}
	n := b.keyLen()
	switch value := b.valueLen(); {
	case head+n+value <= maxSlot:
	case head+4+n <= maxSlot:
		head += 4
	default:
		return a.append(make([]byte, 0, n), b, 0, n)
	}
	return b[head : head+n : head+n]
}

// has reports whether the item has this key.
func (a *arena) has(b item, key []byte) bool {
	return b.keyLen() == len(key) && string(a.key(b)) == string(key)
}

// holds reports whether the item has this value.
func (a *arena) holds(b item, value []byte) bool {
	if b.valueLen() != len(value) {
		return false
	}
	same := true
	a.parts(b, b.keyLen(), len(value), func(part []byte) bool {
		same = bytes.Equal(part, value[:len(part)])
		value = value[len(part):]
		return same
	})
	return same
}

// write makes an item, which is in no index.
func (a *arena) write(key, value []byte, s *shape, version uint64) ref {
	head, large := s.head()
	if !large {
		r := a.alloc(classOf(head + s.key + s.value))
		b := a.item(r)
		b.set(s, version)
		copy(b[head:], key)
		copy(b[head+s.key:], value)
		return r
	}
	r := a.alloc(classOf(maxSlot))
	b := a.item(r)
	b.set(s, version)
	fill := func(part []byte) {
		n := copy(part, key)
		key = key[n:]
		value = value[copy(part[n:], value):]
	}
	fill(b[head:maxSlot])
	link, before := []byte(b[head-4:]), r
	for {
		rest := len(key) + len(value)
		if rest == 0 {
			binary.LittleEndian.PutUint32(link, 0)
			return r
		}
		n := min(rest, segmentSize)
		at := a.alloc(classOf(segmentHead + n))
		binary.LittleEndian.PutUint32(link, uint32(at))
		seg := a.at(at)
		seg[0] = kindSegment
		binary.LittleEndian.PutUint32(seg[8:], uint32(before))
		fill(seg[segmentHead : segmentHead+n])
		link, before = seg[4:], at
	}
}

// slabsFor returns how many slabs a new item may take, with its part of the indexes.
func (s *shape) slabsFor() int {
	const indexes = 8
	return indexes + (s.key+s.value)/(slabSize-4*segmentHead) + 2
}

// drop gives an item's slots back.
func (a *arena) drop(r ref) {
	b := a.item(r)
	s := b.shape()
	if head, large := s.head(); large {
		for at := ref(binary.LittleEndian.Uint32(b[head-4:])); at != 0; {
			next := ref(binary.LittleEndian.Uint32(a.at(at)[4:]))
			a.give(at)
			at = next
		}
	}
	a.give(r)
}

// time is an expiry as the contract has it.
func expiry(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// copied returns the item for a caller, its key and value in one allocation.
func (s *store) copied(b item, keyOnly bool) storage.Item {
	it := storage.Item{Version: s.base + b.version(), ExpiresAt: expiry(b.expires())}
	k, v := b.keyLen(), b.valueLen()
	if keyOnly {
		it.Key = s.append(make([]byte, 0, k), b, 0, k)
		return it
	}
	buf := s.append(make([]byte, 0, k+v), b, 0, k+v)
	it.Key, it.Value = buf[:k:k], buf[k:]
	return it
}

// wire returns the item's shape as the ABI has it.
func (s *store) wire(b item) abi.ItemShape {
	return abi.ItemShape{Key: b.keyLen(), Value: b.valueLen(), Version: s.base + b.version(), Expires: b.expires()}
}

// encode appends the item to a page.
func (s *store) encode(dst []byte, b item, w *abi.ItemShape) []byte {
	if n := w.Key + w.Value; w.Expires == 0 && w.Value >= 0 && itemHead+n <= maxSlot {
		if out := abi.AppendListed(dst, w, b[itemHead:itemHead+n]); out != nil {
			return out
		}
	}
	dst = abi.AppendItemHead(dst, w)
	dst = s.append(dst, b, 0, w.Key)
	if w.Value >= 0 {
		dst = abi.AppendItemValue(dst, w)
		dst = s.append(dst, b, w.Key, w.Value)
	}
	return abi.AppendItemTail(dst, w)
}
