package memory

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// index finds live items by their keys: a hash table by linear hashing, which grows
// and shrinks by a bucket at a time. A bucket is a list of items, linked by what
// each has for that. Buckets are in slots of bucketPage bytes.
type index struct {
	a     *arena
	seed  seed
	pages []ref
	n     int // buckets
	count int // items
}

const (
	bucketPage  = maxSlot
	bucketHead  = 8
	pageBuckets = (bucketPage - bucketHead) / 4
	// slackBuckets is how many more buckets than items there may be: a page's worth,
	// so that a store that grows and shrinks by an item does not do so by a page.
	slackBuckets = pageBuckets
)

// number returns the bucket of a hash.
func (x *index) number(h uint64) int {
	width := bits.Len(uint(x.n - 1))
	at := int(h & (1<<width - 1))
	if at >= x.n {
		at &= 1<<(width-1) - 1
	}
	return at
}

// head returns where the first item of a bucket is kept.
func (x *index) head(bucket int) *ref {
	at := x.pages[bucket/pageBuckets]
	return (*ref)(unsafe.Pointer(&x.a.chunks[at>>chunkShift][int(at&(1<<chunkShift-1))*granule+bucketHead+bucket%pageBuckets*4]))
}

func (x *index) first(bucket int) ref       { return *x.head(bucket) }
func (x *index) setFirst(bucket int, r ref) { *x.head(bucket) = r }

// equal compares bytes by eights: in a module, a call of the runtime's own comparison
// takes longer than the usual key.
func equal(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) < 8 || len(a) > 64 {
		return string(a) == string(b)
	}
	p, q := unsafe.Pointer(unsafe.SliceData(a)), unsafe.Pointer(unsafe.SliceData(b))
	last := len(a) - 8
	for i := 0; i < last; i += 8 {
		if word(p, i) != word(q, i) {
			return false
		}
	}
	return word(p, last) == word(q, last)
}

// word returns the eight bytes at an offset, in the machine's order.
func word(p unsafe.Pointer, at int) uint64 { return *(*uint64)(unsafe.Add(p, at)) }

// find returns the item with a key; 0: there is none. It is hot, and in a module every
// call is dear: the usual item, whose key lies behind its head, takes none but those
// that hash and compare.
func (x *index) find(key []byte) ref {
	if x.count == 0 {
		return 0
	}
	r := x.first(x.number(x.hash(key)))
	for r != 0 {
		h := x.a.headAt(r)
		if h.keyLen() == len(key) {
			at := itemHead
			if h.flags&flagExpires != 0 {
				at += 8
			}
			if at+len(key)+h.valueLen() <= maxSlot {
				if equal(h.bytes(at, len(key)), key) {
					return r
				}
			} else if x.a.has(x.a.item(r), key) {
				return r
			}
		}
		r = h.next
	}
	return 0
}

// insert adds an item whose key is not there.
func (x *index) insert(key []byte, r ref) {
	if x.n <= x.count {
		x.grow()
	}
	x.count++
	bucket := x.number(x.hash(key))
	x.a.item(r).setNext(x.first(bucket))
	x.setFirst(bucket, r)
}

// replace has what points to an item point to another in its place, or, for 0, to
// the one behind it.
func (x *index) replace(key []byte, old, r ref) {
	next := x.a.item(old).next()
	if r == 0 {
		r = next
	} else {
		x.a.item(r).setNext(next)
	}
	bucket := x.number(x.hash(key))
	at := x.first(bucket)
	if at == old {
		x.setFirst(bucket, r)
		return
	}
	for {
		b := x.a.item(at)
		if at = b.next(); at == old {
			b.setNext(r)
			return
		}
	}
}

// remove takes an item out.
func (x *index) remove(key []byte, r ref) {
	x.replace(key, r, 0)
	x.count--
	if x.n > x.count+slackBuckets {
		x.shrink()
	}
}

// grow adds a bucket, which gets its items from the one that had them.
func (x *index) grow() {
	bucket := x.n
	if bucket%pageBuckets == 0 {
		page := x.a.alloc(classOf(bucketPage))
		b := x.a.at(page)[:bucketPage]
		clear(b)
		b[0] = kindBuckets
		binary.LittleEndian.PutUint32(b[4:], uint32(len(x.pages)))
		x.pages = append(x.pages, page)
	}
	x.n++
	if bucket == 0 {
		return
	}
	x.setFirst(bucket, 0)
	from := bucket &^ (1 << (bits.Len(uint(bucket)) - 1))
	var stay, leave ref
	for r := x.first(from); r != 0; {
		b := x.a.item(r)
		next := b.next()
		if x.number(x.hash(x.a.key(b))) == bucket {
			b.setNext(leave)
			leave = r
		} else {
			b.setNext(stay)
			stay = r
		}
		r = next
	}
	x.setFirst(from, stay)
	x.setFirst(bucket, leave)
}

// shrink takes the last bucket out, and its items back to where they came from.
func (x *index) shrink() {
	last := x.n - 1
	if last == 0 {
		return
	}
	to := last &^ (1 << (bits.Len(uint(last)) - 1))
	for r := x.first(last); r != 0; {
		b := x.a.item(r)
		next := b.next()
		b.setNext(x.first(to))
		x.setFirst(to, r)
		r = next
	}
	x.n = last
	if last%pageBuckets == 0 {
		x.a.give(x.pages[len(x.pages)-1])
		x.pages = x.pages[:len(x.pages)-1]
	}
}
