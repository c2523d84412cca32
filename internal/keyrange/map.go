package keyrange

import "math/rand/v2"

// Map maps keys to values, in the order of the keys.
type Map[V any] struct {
	root *node[V]
	size int
}

// node is a node of a treap, whose shape follows from random priorities: its depth is
// about twice the logarithm, whatever is stored in which order.
type node[V any] struct {
	key         string
	value       V
	weight, sum int // its own, and that of all below with its own
	priority    uint32
	left, right *node[V]
}

func (n *node[V]) total() int {
	if n == nil {
		return 0
	}
	return n.sum
}

func (n *node[V]) update() { n.sum = n.weight + n.left.total() + n.right.total() }

// split gives the nodes before key and those from it on.
func split[V any, K string | []byte](n *node[V], key K) (before, from *node[V]) {
	if n == nil {
		return nil, nil
	}
	if n.key < string(key) {
		n.right, from = split(n.right, key)
		n.update()
		return n, from
	}
	before, n.left = split(n.left, key)
	n.update()
	return before, n
}

// merge joins two trees, all keys of a before those of b.
func merge[V any](a, b *node[V]) *node[V] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority > b.priority:
		a.right = merge(a.right, b)
		a.update()
		return a
	}
	b.left = merge(a, b.left)
	b.update()
	return b
}

func insert[V any](n, add *node[V]) *node[V] {
	switch {
	case n == nil:
		return add
	case add.priority > n.priority:
		add.left, add.right = split(n, add.key)
		add.update()
		return add
	case add.key < n.key:
		n.left = insert(n.left, add)
	default:
		n.right = insert(n.right, add)
	}
	n.update()
	return n
}

func remove[V any, K string | []byte](n *node[V], key K) *node[V] {
	switch {
	case n == nil:
		return nil
	case n.key == string(key):
		return merge(n.left, n.right)
	case string(key) < n.key:
		n.left = remove(n.left, key)
	default:
		n.right = remove(n.right, key)
	}
	n.update()
	return n
}

func find[V any, K string | []byte](n *node[V], key K) *node[V] {
	for n != nil && n.key != string(key) {
		if string(key) < n.key {
			n = n.left
		} else {
			n = n.right
		}
	}
	return n
}

func (m *Map[V]) add(key string, value V, weight int) {
	m.root = insert(m.root, &node[V]{key: key, value: value, weight: weight, sum: weight, priority: rand.Uint32()})
	m.size++
}

// Len returns the number of keys.
func (m *Map[V]) Len() int { return m.size }

// Get returns the value at key.
func (m *Map[V]) Get(key []byte) (value V, ok bool) {
	if n := find(m.root, key); n != nil {
		return n.value, true
	}
	return value, false
}

// GetString returns what Get returns, for a string.
func (m *Map[V]) GetString(key string) (value V, ok bool) {
	if n := find(m.root, key); n != nil {
		return n.value, true
	}
	return value, false
}

// Set stores value at key.
func (m *Map[V]) Set(key []byte, value V) {
	if n := find(m.root, key); n != nil {
		n.value = value
		return
	}
	m.add(string(key), value, 0)
}

// SetString stores value like Set, with a key that it does not copy.
func (m *Map[V]) SetString(key string, value V) {
	if n := find(m.root, key); n != nil {
		n.value = value
		return
	}
	m.add(key, value, 0)
}

// DeleteString deletes a key like Delete, given a string.
func (m *Map[V]) DeleteString(key string) bool { return drop(m, key) }

// Delete removes key and reports whether it was present.
func (m *Map[V]) Delete(key []byte) bool { return drop(m, key) }

func drop[V any, K string | []byte](m *Map[V], key K) bool {
	if find(m.root, key) == nil {
		return false
	}
	m.root = remove(m.root, key)
	m.size--
	return true
}

// Floor returns the last key that is not above key.
func (m *Map[V]) Floor(key []byte) (at string, value V, ok bool) {
	for n := m.root; n != nil; {
		if string(key) < n.key {
			n = n.left
			continue
		}
		at, value, ok = n.key, n.value, true
		n = n.right
	}
	return at, value, ok
}

// Ascend calls f with the keys in [start, end), in order, until it returns false. f must
// not change the map.
func (m *Map[V]) Ascend(start, end []byte, f func(key string, value V) bool) {
	ascend(m.root, start, end, f)
}

func ascend[V any](n *node[V], start, end []byte, f func(string, V) bool) bool {
	if n == nil {
		return true
	}
	if n.key < string(start) {
		return ascend(n.right, start, end, f)
	}
	if !ascend(n.left, start, end, f) || end != nil && n.key >= string(end) || !f(n.key, n.value) {
		return false
	}
	return ascend(n.right, start, end, f)
}

// Cut removes the keys in [start, end) and calls f, which may be nil, with each, in
// order.
func (m *Map[V]) Cut(start, end []byte, f func(key string, value V)) {
	if end != nil && string(start) >= string(end) {
		return
	}
	before, cut := split(m.root, start)
	var after *node[V]
	if end != nil {
		cut, after = split(cut, end)
	}
	m.root = merge(before, after)
	ascend(cut, nil, nil, func(key string, value V) bool {
		m.size--
		if f != nil {
			f(key, value)
		}
		return true
	})
}
