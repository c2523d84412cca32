package ledger

import (
	"testing"
	"testing/synctest"
	"time"
)

// looking are notices that were asked for, and which know all up to height 10 of n.
func looking(n *node) *notices {
	s := &notices{}
	s.use()
	s.read(sight{n, 10, 1, 1}, 0)
	return s
}

// Others have written where a height is not one of ours; and where it is not known.
func TestNotices(t *testing.T) {
	n, other := &node{}, &node{}
	at := func(height uint64) sight { return sight{n, height, 1, 1} }
	for name, c := range map[string]struct {
		do    func(*notices)
		gone  bool
		known uint64
	}{
		"nothing":                    {func(s *notices) { s.read(at(10), 10) }, false, 10},
		"a height that is read":      {func(s *notices) { s.read(at(11), 10) }, true, 11},
		"a height that is announced": {func(s *notices) { s.announced(at(12), false) }, true, 12},
		"what is known, announced":   {func(s *notices) { s.announced(at(9), false) }, false, 10},
		"an own write":               {func(s *notices) { s.acknowledged(at(11), 10, false) }, false, 11},
		"own writes in another order": {func(s *notices) {
			s.acknowledged(at(12), 10, false)
			s.acknowledged(at(11), 10, false)
			s.read(at(12), 10)
		}, false, 12},
		"one of others between own writes": {func(s *notices) {
			s.acknowledged(at(13), 10, false)
			s.acknowledged(at(11), 10, false)
			s.read(at(13), 10)
		}, true, 13},
		"a read that began before an own write": {func(s *notices) { s.acknowledged(at(11), 10, false); s.read(at(10), 10) }, false, 11},
		"a read that goes back":                 {func(s *notices) { s.read(at(9), 10) }, true, 9},
		"an announcement that goes back":        {func(s *notices) { s.announced(at(5), true) }, true, 5},
		"an acknowledgement of what was there":  {func(s *notices) { s.acknowledged(at(10), 10, false) }, true, 10},
		"that of an earlier attempt":            {func(s *notices) { s.acknowledged(at(10), 10, true) }, false, 10},
		"another node":                          {func(s *notices) { s.read(sight{other, 10, 1, 1}, 10) }, true, 10},
		"another node's acknowledgement":        {func(s *notices) { s.acknowledged(sight{other, 11, 1, 1}, 10, false) }, true, 11},
		"a node that was dialed again":          {func(s *notices) { s.read(sight{n, 10, 1, 2}, 10) }, true, 10},
		"a loss":                                {func(s *notices) { s.lost() }, true, 0},
		"more than can be kept": {func(s *notices) {
			for h := range uint64(mostOwn + 1) {
				s.acknowledged(at(20+h), 10, false)
			}
		}, true, 20 + mostOwn},
	} {
		s := looking(n)
		before, _, _ := s.look(0)
		c.do(s)
		after, _, sure := s.look(c.known)
		if gone := after != before; gone != c.gone || s.height() != c.known || !sure {
			t.Errorf("%s: others have written is %t, want %t; all is known up to %d, want %d (%t)", name, gone, c.gone, s.height(), c.known, sure)
		}
	}
}

// A height that may be that of a write under way is not decided about before its
// acknowledgement, but soon.
func TestNoticesAwaitAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		at := func(height uint64) sight { return sight{n, height, 1, 1} }
		s := looking(n)
		before, _, _ := s.look(0)
		s.writes()
		s.announced(at(11), false)
		for h := uint64(11); h < 50; h++ { // there is always one that is not acknowledged yet
			s.writes()
			s.announced(at(h+1), false)
			if _, _, sure := s.look(h + 1); sure {
				t.Fatalf("whose height %d is, is known before its acknowledgement", h)
			}
			time.Sleep(ackWait / 2)
			s.acknowledged(at(h), 10, false)
			s.wrote()
		}
		if now, _, _ := s.look(0); now != before {
			t.Fatal("own writes are told as those of others")
		}
		_, changed, _ := s.look(0)
		began := time.Now()
		<-changed
		if now, _, sure := s.look(s.height()); now == before || !sure || time.Since(began) > 2*ackWait {
			t.Errorf("after %s it is %t that others have written, which is sure: %t", time.Since(began), now != before, sure)
		}
		before, _, _ = s.look(0)
		s.announced(at(s.height()+1), false)
		s.wrote() // without an acknowledgement
		if now, _, _ := s.look(0); now == before {
			t.Error("a height that no write of ours was acknowledged at is told as one of ours")
		}
		time.Sleep(time.Second)
	})
}

// A stream that does not announce what reads know of is ended: it is silent, or of a node that
// does not lead any more. One that is behind and gets on is not.
func TestNoticesEndASilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, other := &node{}, &node{}
		for name, c := range map[string]struct {
			step func(s *notices, i uint64)
			ends bool
		}{
			"silent":             {func(s *notices, i uint64) { s.read(sight{n, 10 + i, 1, 1}, 10) }, true},
			"nothing is written": {func(s *notices, _ uint64) { s.read(sight{n, 10, 1, 1}, 10) }, false},
			"of another node":    {func(s *notices, _ uint64) { s.read(sight{other, 10, 1, 1}, 10) }, true},
			"behind, and gets on": {func(s *notices, i uint64) {
				s.read(sight{n, 10 + 2*i, 1, 1}, 10)
				s.announced(sight{n, 10 + 2*i - 1, 1, 1}, false)
			}, false},
			"it has all in the end": {func(s *notices, i uint64) { s.read(sight{n, 11, 1, 1}, 10); s.announced(sight{n, 11, 1, 1}, i > 1) }, false},
		} {
			s, ends := looking(n), false
			s.begun(n, 10, func() { ends = true })
			for i := range uint64(20) {
				c.step(s, i+1)
				time.Sleep(streamWait / 8)
			}
			if ends != c.ends {
				t.Errorf("%s: it was ended is %t, want %t", name, ends, c.ends)
			}
		}
	})
}

// When they are no longer asked for, they end, and begin later with a version that was
// never theirs.
func TestNoticesEndWhenNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := looking(&node{})
		before, _, _ := s.look(0)
		if s.over() || !s.enter() {
			t.Fatal("they end at once")
		}
		time.Sleep(2 * unusedFor)
		if s.over() {
			t.Error("they end although a caller waits")
		}
		s.leave()
		if !s.over() {
			t.Error("they do not end")
		}
		if now, _, _ := s.look(0); now == before {
			t.Error("a version counts that nothing is known of")
		}
		s.use()
		if now, _, _ := s.look(0); now <= before || s.known() {
			t.Errorf("it begins again at version %d, after %d", now, before)
		}
		for range mostWaiting {
			s.enter()
		}
		if s.enter() {
			t.Errorf("more than %d calls wait", mostWaiting)
		}
	})
}
