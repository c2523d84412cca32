package memory

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"unsafe"
)

// tree is a B+tree in slots: items in the order of a number, then of their keys,
// then of their versions. Of an entry it has the number and the item, which the rest
// is read from. In the tree of all items the number is the first 8 bytes of the key,
// in that of the deadlines the expiry.
//
// Each entry of an inner node is the first one of a child. All nodes but the root
// are at least half full.
type tree struct {
	a     *arena
	id    uint8 // which tree a node belongs to
	root  ref   // 0: empty
	depth int   // of the root; leaves have 0
	count int
}

const (
	nodeSize   = 1024
	nodeHead   = 8
	leafCap    = (nodeSize - nodeHead) / 12
	innerCap   = (nodeSize - nodeHead) / 16
	mostLevels = 12
)

// node is what all nodes begin with.
type node struct {
	kind, level, tree, _ uint8
	n                    uint16
	_                    uint16
}

type leaf struct {
	node
	number [leafCap]uint64
	item   [leafCap]ref
}

type inner struct {
	node
	number [innerCap]uint64
	item   [innerCap]ref
	child  [innerCap]ref
}

// Nodes fit their slot.
const (
	_ = uint(nodeSize - unsafe.Sizeof(leaf{}))
	_ = uint(nodeSize - unsafe.Sizeof(inner{}))
)

// node and its kinds are views of a slot, which is aligned as they have to be.
func (t *tree) node(r ref) *node { return (*node)(unsafe.Pointer(unsafe.SliceData(t.a.at(r)))) }

func (t *tree) leaf(r ref) *leaf   { return (*leaf)(unsafe.Pointer(unsafe.SliceData(t.a.at(r)))) }
func (t *tree) inner(r ref) *inner { return (*inner)(unsafe.Pointer(unsafe.SliceData(t.a.at(r)))) }

// entries returns the node's, and its children; nil: a leaf.
func (t *tree) entries(r ref) (number []uint64, items, children []ref) {
	if t.node(r).level == 0 {
		l := t.leaf(r)
		return l.number[:l.n], l.item[:l.n], nil
	}
	i := t.inner(r)
	return i.number[:i.n], i.item[:i.n], i.child[:i.n]
}

// target is a place in the order.
type target struct {
	number  uint64
	key     []byte
	version uint64
}

// prefix returns the number of a key.
func prefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// compare says whether an entry is before, at or after the target.
func (t *tree) compare(number uint64, r ref, to *target) int {
	if number != to.number {
		return cmp.Compare(number, to.number)
	}
	b := t.a.item(r)
	if c := bytes.Compare(t.a.key(b), to.key); c != 0 {
		return c
	}
	return cmp.Compare(b.version(), to.version)
}

// lower returns the first entry of a node that is not before the target; exact: it is at it.
func (t *tree) lower(r ref, to *target) (at int, exact bool) {
	number, items, _ := t.entries(r)
	low, high := 0, len(number)
	for low < high {
		mid := int(uint(low+high) / 2)
		switch c := t.compare(number[mid], items[mid], to); {
		case c < 0:
			low = mid + 1
		case c == 0:
			return mid, true
		default:
			high = mid
		}
	}
	return low, false
}

// path is the way from the root to an entry: at each level a node and the place in it.
type path struct {
	step  [mostLevels]step
	depth int // of the root
}

type step struct {
	r  ref
	at int
}

// find returns the path to the first entry that is not before the target, which may be
// one beyond the end of its leaf.
func (t *tree) find(to *target, p *path) (exact bool) {
	p.depth = t.depth
	r := t.root
	for level := t.depth; level > 0; level-- {
		at, exact := t.lower(r, to)
		if !exact && at > 0 {
			at--
		}
		p.step[level] = step{r, at}
		r = t.inner(r).child[at]
	}
	at, exact := t.lower(r, to)
	p.step[0] = step{r, at}
	return exact
}

// refirst has the parents of a node whose first entry is another one know it.
func (t *tree) refirst(p *path, level int) {
	for ; level < p.depth; level++ {
		number, items, _ := t.entries(p.step[level].r)
		up := p.step[level+1]
		in := t.inner(up.r)
		in.number[up.at], in.item[up.at] = number[0], items[0]
		if up.at > 0 {
			return
		}
	}
}

// replace has the entry of the target be of another item at the same place.
func (t *tree) replace(to *target, r ref) {
	var p path
	t.find(to, &p)
	s := p.step[0]
	t.leaf(s.r).item[s.at] = r
	if s.at == 0 {
		t.refirst(&p, 0)
	}
}

func (t *tree) newNode(level int) ref {
	r := t.a.alloc(classOf(nodeSize))
	*t.node(r) = node{kind: kindNode, level: uint8(level), tree: t.id}
	return r
}

// insert adds an entry, which is not there.
func (t *tree) insert(to *target, r ref) {
	t.count++
	if t.root == 0 {
		t.root, t.depth = t.newNode(0), 0
	}
	var p path
	t.find(to, &p)
	t.put(&p, 0, to.number, r, 0)
}

// put adds an entry at the path's place of a level, and splits what is full.
func (t *tree) put(p *path, level int, number uint64, r, child ref) {
	s := p.step[level]
	full := innerCap
	if level == 0 {
		full = leafCap
	}
	if int(t.node(s.r).n) < full {
		t.add(s.r, s.at, number, r, child)
		if s.at == 0 {
			t.refirst(p, level)
		}
		return
	}
	right := t.newNode(level)
	half := full / 2
	t.move(right, 0, s.r, half, full-half)
	if s.at > half {
		t.add(right, s.at-half, number, r, child)
	} else {
		t.add(s.r, s.at, number, r, child)
		if s.at == 0 {
			t.refirst(p, level)
		}
	}
	if level == p.depth {
		root := t.newNode(level + 1)
		first, items, _ := t.entries(s.r)
		t.add(root, 0, first[0], items[0], s.r)
		t.root, t.depth = root, level+1
		p.depth = t.depth
		p.step[level+1] = step{root, 0}
	}
	p.step[level+1].at++
	first, items, _ := t.entries(right)
	t.put(p, level+1, first[0], items[0], right)
}

// add puts an entry into a node that has room.
func (t *tree) add(r ref, at int, number uint64, it, child ref) {
	n := t.node(r)
	n.n++
	numbers, items, children := t.entries(r)
	copy(numbers[at+1:], numbers[at:])
	copy(items[at+1:], items[at:])
	numbers[at], items[at] = number, it
	if children != nil {
		copy(children[at+1:], children[at:])
		children[at] = child
	}
}

// move moves n entries from a place in one node, and closes the gap, to a place in
// another of its level.
func (t *tree) move(to ref, at int, from ref, first, n int) {
	t.node(to).n += uint16(n)
	toNumbers, toItems, toChildren := t.entries(to)
	numbers, items, children := t.entries(from)
	copy(toNumbers[at+n:], toNumbers[at:])
	copy(toItems[at+n:], toItems[at:])
	copy(toNumbers[at:at+n], numbers[first:])
	copy(toItems[at:at+n], items[first:])
	copy(numbers[first:], numbers[first+n:])
	copy(items[first:], items[first+n:])
	if children != nil {
		copy(toChildren[at+n:], toChildren[at:])
		copy(toChildren[at:at+n], children[first:])
		copy(children[first:], children[first+n:])
	}
	t.node(from).n -= uint16(n)
}

// delete takes out the entry of the target.
func (t *tree) delete(to *target) {
	var p path
	if t.root == 0 || !t.find(to, &p) {
		panic("memory: an item is not in its tree")
	}
	t.count--
	t.cut(&p, 0)
}

// cut takes out the entry at the path's place of a level, and has the node be at
// least half full.
func (t *tree) cut(p *path, level int) {
	s := p.step[level]
	numbers, items, children := t.entries(s.r)
	copy(numbers[s.at:], numbers[s.at+1:])
	copy(items[s.at:], items[s.at+1:])
	half := innerCap / 2
	if children != nil {
		copy(children[s.at:], children[s.at+1:])
	} else {
		half = leafCap / 2
	}
	n := t.node(s.r)
	n.n--
	if level == p.depth {
		switch {
		case n.n == 0:
			t.a.give(s.r)
			t.root, t.depth = 0, 0
		case n.n == 1 && level > 0:
			t.root, t.depth = t.inner(s.r).child[0], level-1
			t.a.give(s.r)
		}
		return
	}
	if s.at == 0 {
		t.refirst(p, level)
	}
	if int(n.n) < half {
		t.balance(p, level)
	}
}

// balance has a node share with a neighbour, or joins the two.
func (t *tree) balance(p *path, level int) {
	up := &p.step[level+1]
	parent := t.inner(up.r)
	left := up.at
	if left > 0 {
		left--
	}
	a, b := parent.child[left], parent.child[left+1]
	na, nb := int(t.node(a).n), int(t.node(b).n)
	most := innerCap
	if level == 0 {
		most = leafCap
	}
	if na+nb <= most {
		t.move(a, na, b, 0, nb)
		t.a.give(b)
		up.at = left + 1
		t.cut(p, level+1)
		return
	}
	if half := (na + nb) / 2; na < half {
		t.move(a, na, b, 0, half-na)
	} else {
		t.move(b, 0, a, half, na-half)
	}
	first, items, _ := t.entries(b)
	parent.number[left+1], parent.item[left+1] = first[0], items[0]
}

// moved has the parent of a node know where it is now.
func (t *tree) moved(old, r ref) {
	if t.root == old {
		t.root = r
		return
	}
	numbers, items, _ := t.entries(r)
	level := int(t.node(r).level)
	b := t.a.item(items[0])
	to := &target{numbers[0], t.a.key(b), b.version()}
	at := t.root
	for l := t.depth; ; l-- {
		i, exact := t.lower(at, to)
		if !exact {
			i--
		}
		in := t.inner(at)
		if l == level+1 {
			in.child[i] = r
			return
		}
		at = in.child[i]
	}
}
