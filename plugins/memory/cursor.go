package memory

// cursor walks the entries of a tree that does not change meanwhile.
type cursor struct {
	t *tree
	p path
}

// seek is at the first entry that is not before the target.
func (t *tree) seek(to *target) cursor {
	c := cursor{t: t}
	if t.root != 0 {
		t.find(to, &c.p)
		c.settle()
	}
	return c
}

// item returns the one that the cursor is at, or 0 if none is left.
func (c *cursor) item() ref {
	s := c.p.step[0]
	if s.r == 0 || s.at >= int(c.t.node(s.r).n) {
		return 0
	}
	return c.t.leaf(s.r).item[s.at]
}

// settle goes on to the next leaf at the end of one.
func (c *cursor) settle() {
	if c.p.step[0].at < int(c.t.node(c.p.step[0].r).n) {
		return
	}
	for level := 1; level <= c.p.depth; level++ {
		s := &c.p.step[level]
		if s.at+1 < int(c.t.node(s.r).n) {
			s.at++
			c.down(level, false)
			return
		}
	}
}

// down goes to the first leaf below the place at a level, or to the last entry.
func (c *cursor) down(level int, last bool) {
	for ; level > 0; level-- {
		s := c.p.step[level]
		r := c.t.inner(s.r).child[s.at]
		at := 0
		if last {
			at = int(c.t.node(r).n) - 1
		}
		c.p.step[level-1] = step{r, at}
	}
}

func (c *cursor) next() {
	c.p.step[0].at++
	c.settle()
}

// prev goes back, and reports whether there was an entry before.
func (c *cursor) prev() bool {
	for level := 0; c.t.root != 0 && level <= c.p.depth; level++ {
		s := &c.p.step[level]
		if s.at > 0 {
			s.at--
			c.down(level, true)
			return true
		}
	}
	return false
}

// end is beyond the last entry.
func (t *tree) end() cursor {
	c := cursor{t: t}
	if t.root == 0 {
		return c
	}
	c.p.depth = t.depth
	c.p.step[t.depth] = step{t.root, int(t.node(t.root).n) - 1}
	c.down(t.depth, true)
	c.p.step[0].at++
	return c
}

// first returns the first item, or 0 if there is none.
func (t *tree) first() ref {
	if t.root == 0 {
		return 0
	}
	r := t.root
	for level := t.depth; level > 0; level-- {
		r = t.inner(r).child[0]
	}
	return t.leaf(r).item[0]
}
