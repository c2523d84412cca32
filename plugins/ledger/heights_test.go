package ledger

import "testing"

// What answers are held against, one after the other.
func TestHeights(t *testing.T) {
	var h heights
	leader, other := new(node), new(node)
	h.acknowledged(leader, 10)
	for _, step := range []struct {
		what   string
		do     func() bool
		behind bool
	}{
		{"nobody has told heights in a read yet", func() bool { return h.behind(other, 3, 10) }, false},
		{"one is as high as the write", func() bool { return h.behind(other, 10, 10) }, false},
		{"another is lower", func() bool { return h.behind(other, 9, 10) }, true},
		{"the one that took the write is lower, and has it all the same", func() bool { return h.behind(leader, 9, 10) }, false},
		{"a read that began before the write", func() bool { return h.behind(other, 9, 9) }, false},
		{"it was gone in between", func() bool { h.failed(leader); return h.behind(leader, 9, 10) }, true},
		{"another takes a write", func() bool { h.acknowledged(other, 12); return h.behind(leader, 11, h.seen.Load()) }, true},
		{"an answer to an older write comes late", func() bool { h.acknowledged(leader, 11); return h.behind(leader, 11, h.seen.Load()) }, true},
		{"reads raise it too", func() bool { h.behind(leader, 20, 12); return h.behind(leader, 19, h.seen.Load()) }, true},
	} {
		if got := step.do(); got != step.behind {
			t.Errorf("%s: behind %t", step.what, got)
		}
	}
	var never heights // reads tell other numbers: nothing is held against anybody
	never.acknowledged(leader, 10)
	for range 3 {
		if never.behind(other, 0, 10) {
			t.Error("a number that says nothing is held against a node")
		}
	}
}
