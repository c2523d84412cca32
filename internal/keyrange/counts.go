package keyrange

// Counts counts, for each key, the ranges that cover it.
type Counts struct {
	// bounds are where the count changes: the weight of each is by how much. The sum
	// of all weights up to a key is its count.
	bounds Map[struct{}]
}

// Empty reports whether no range is counted.
func (c *Counts) Empty() bool { return c.bounds.root == nil }

// Add counts [start, end) n more times; n may be negative, for ranges that were added
// before. An empty range changes nothing.
func (c *Counts) Add(start, end []byte, n int) {
	if end == nil {
		c.change(start, n)
	} else if string(start) < string(end) {
		c.change(start, n)
		c.change(end, -n)
	}
}

func (c *Counts) change(key []byte, by int) {
	switch n := find(c.bounds.root, key); {
	case n == nil:
		c.bounds.add(string(key), struct{}{}, by)
	case n.weight+by == 0:
		c.bounds.Delete(key)
	default:
		c.bounds.root.reweigh(key, by)
	}
}

// reweigh adds to the weight of a key, which must exist.
func (n *node[V]) reweigh(key []byte, by int) {
	for {
		n.sum += by
		switch {
		case n.key == string(key):
			n.weight += by
			return
		case string(key) < n.key:
			n = n.left
		default:
			n = n.right
		}
	}
}

// Of returns the number of ranges that cover key.
func (c *Counts) Of(key []byte) int {
	count := 0
	for n := c.bounds.root; n != nil; {
		if string(key) < n.key {
			n = n.left
			continue
		}
		count += n.weight + n.left.total()
		n = n.right
	}
	return count
}
