package ledger

import "testing"

// The heights that answers are compared with, one after the other.
func TestHeights(t *testing.T) {
	var h heights
	leader, other := new(node), new(node)
	ack := func(n *node, height uint64) (fits, back bool) {
		o, m := h.before(n)
		return h.acknowledged(n, height, o, m, false)
	}
	ack(leader, 10)
	at := func(height uint64) mark { return mark{height: height, resets: h.resets} }
	read := func(n *node, height, least uint64) bool { return h.behind(n, height, at(least), true) }
	for _, step := range []struct {
		what   string
		do     func() bool
		behind bool
	}{
		{"nobody has told heights in a read yet", func() bool { return read(other, 3, 10) }, false},
		{"nothing at all is behind at once", func() bool { return read(other, 0, 10) }, true},
		{"and also where reads are not linearizable", func() bool { return h.behind(leader, 0, at(10), false) }, true},
		{"one is as high as the write", func() bool { return read(other, 10, 10) }, false},
		{"another is lower", func() bool { return read(other, 9, 10) }, true},
		{"the one that took the write is lower, and has it all the same", func() bool { return read(leader, 9, 10) }, false},
		{"a read that began before the write", func() bool { return read(other, 9, 9) }, false},
		{"it went away in between, and no call noticed", func() bool { leader.dials.Add(1); return read(leader, 9, 10) }, true},
		{"it takes a write again", func() bool { ack(leader, 11); return read(leader, 10, 11) }, false},
		{"it was gone in between", func() bool { h.failed(leader); return read(leader, 10, 11) }, true},
		{"another takes a write", func() bool { ack(other, 12); return read(leader, 11, 12) }, true},
		{"reads raise it too", func() bool { read(leader, 20, 12); return read(leader, 19, h.seen) }, true},
		{"after a loss the cluster begins again", func() bool { m := h.mark(); h.reset(5); return h.behind(leader, 5, m, true) }, false},
		{"from where it was then", func() bool { return read(leader, 4, h.seen) }, true},
	} {
		if got := step.do(); got != step.behind {
			t.Errorf("%s: behind %t", step.what, got)
		}
	}
	var never heights // reads report other numbers: no node counts as behind
	never.acknowledged(leader, 10, own{}, mark{}, false)
	for range 3 {
		if never.behind(other, 1, mark{height: 10}, true) {
			t.Error("a number that says nothing is held against a node")
		}
	}
}

// Which acknowledgements are believed, and which show that the cluster went back.
func TestAcknowledgedHeights(t *testing.T) {
	leader, other := new(node), new(node)
	for _, a := range []struct {
		what       string
		by         *node
		height     uint64
		again      bool
		fits, back bool
	}{
		{"the next", leader, 11, false, true, false},
		{"one that leaves some out", leader, 15, false, true, false},
		{"of another node", other, 11, false, true, false},
		{"the same again", leader, 10, false, false, true},
		{"a lower one", leader, 4, false, false, true},
		{"a lower one of another node", other, 9, false, true, true},
		{"none", leader, 0, false, false, true},
		{"that of an earlier attempt", leader, 9, true, true, false},
	} {
		var h heights
		leader.told, other.told = own{}, own{}
		h.acknowledged(leader, 10, own{}, mark{}, false)
		h.behind(leader, 10, h.mark(), true)
		o, m := h.before(a.by)
		if fits, back := h.acknowledged(a.by, a.height, o, m, a.again); fits != a.fits || back != a.back || h.twice() != a.back {
			t.Errorf("%s: fits %t, back %t", a.what, fits, back)
		}
		o, m = h.before(a.by)
		next := a.height + 1 // it begins again where it did not fit
		if a.fits {
			next = 100
		}
		if fits, _ := h.acknowledged(a.by, next, o, m, false); !fits {
			t.Errorf("%s: the one after it does not fit", a.what)
		}
	}
}
