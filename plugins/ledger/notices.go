package ledger

import (
	"sync"
	"time"
)

// notices tell whether others have written to the vault, by its height: each write makes it
// one more. A height that no write of this backend was acknowledged at is one of others, and
// so is whatever a node may have come to that is another than before, or another process:
// heights of one node say nothing about those of another. The zero value tells nothing.
type notices struct {
	mu      sync.Mutex
	version uint64        // goes up whenever others may have written; 0: nobody asks
	changed chan struct{} // closed by the next change of what is here
	at      sight         // all up to it is ours, or was told; no node: nothing is known
	own     map[uint64]struct{}
	seen    uint64    // the highest height beyond at of which it is not known whose it is; 0: none
	doubt   time.Time // since when the next height is awaited
	armed   bool      // a timer looks at the doubt
	writing int       // writes of ours that are under way
	used    time.Time // when somebody asked last
	waiting int       // calls that wait for a change
	stream  *stream   // nil: there is none
	last    uint64    // the version before nobody asked any more
}

// sight is what a node told of the vault's height.
type sight struct {
	node          *node
	height        uint64
	before, after uint32 // how often it had been dialed before it was asked, and when it had answered
}

// stream is what is known of the stream of announcements.
type stream struct {
	node   *node
	height uint64 // that it came to
	end    func()
	owed   uint64    // a height that others know, and it does not; 0: none
	since  time.Time // when that was noticed
}

const (
	// ackWait is how long a height that is announced may be that of a write of ours that is
	// under way: the acknowledgement comes a moment after the announcement.
	ackWait = 20 * time.Millisecond
	// mostOwn bounds the heights that are known to be ours, and of which an earlier one is not.
	mostOwn = 4096
	// streamWait is how long a stream may not announce what reads know of.
	streamWait = time.Second
	// unusedFor is how long notices are kept up for nobody.
	unusedFor = time.Minute
)

// use begins the notices if nobody asked before, and answers the height to which all is known.
func (s *notices) use() (begins bool, height uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
	if s.version == 0 {
		begins = true
		s.version = max(s.last+1, uint64(s.used.UnixNano())) // another start had another
		s.changed, s.own = make(chan struct{}), map[uint64]struct{}{}
		s.at, s.seen = sight{}, 0
	}
	return begins, s.at.height
}

// known tells whether there is a height to which all is known.
func (s *notices) known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at.node != nil
}

// enter counts a waiting call, which must call leave. It returns false if there are too many.
func (s *notices) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting >= mostWaiting {
		return false
	}
	s.waiting++
	return true
}

func (s *notices) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
}

// over ends the notices if nobody has asked for long, and tells whether it did.
func (s *notices) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting > 0 || time.Since(s.used) < unusedFor {
		return false
	}
	s.last, s.version, s.at = s.version, 0, sight{}
	s.stir()
	return true
}

// stir wakes all who wait. The lock is held, as in what follows.
func (s *notices) stir() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *notices) tell() {
	s.version++
	s.stir()
}

// anew says that others may have written anything, and goes on from o.
func (s *notices) anew(o sight) {
	s.at, s.seen = o, 0
	clear(s.own)
	s.tell()
}

// same tells whether o is of the process that all is known of up to at: the connection to it
// was made before that.
func (s *notices) same(o sight) bool { return s.at.node == o.node && o.after <= s.at.before }

// lost says that others may have written anything.
func (s *notices) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version > 0 {
		s.anew(sight{})
	}
}

// read notes the height of a read that began when all was known up to least.
func (s *notices) read(o sight, least uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == 0 {
		return
	}
	s.check(o)
	if !s.same(o) || o.height < least {
		s.anew(o)
		return
	}
	s.reach(o.height)
}

// announced notes an announcement; again: it is not above the one before.
func (s *notices) announced(o sight, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == 0 {
		return
	}
	if s.stream != nil && s.stream.node == o.node {
		s.stream.height = max(s.stream.height, o.height)
	}
	if again || !s.same(o) {
		s.anew(o)
		return
	}
	s.reach(o.height)
}

// writes notes that a write of ours begins.
func (s *notices) writes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing++
}

// wrote notes that a write has ended, whatever came of it.
func (s *notices) wrote() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing--
	s.settle()
}

// height is that to which all is known.
func (s *notices) height() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at.height
}

// acknowledged notes the height of a write of ours that was sent when all was known up to
// least. again: it may be that of an earlier attempt.
func (s *notices) acknowledged(o sight, least uint64, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.version == 0:
	case !s.same(o), !again && o.height <= least, len(s.own) >= mostOwn:
		s.anew(o)
	case o.height > s.at.height:
		s.own[o.height] = struct{}{}
		s.settle()
	}
}

// reach notes that the vault has come to a height.
func (s *notices) reach(height uint64) {
	s.seen = max(s.seen, height)
	s.settle()
}

// settle finds out whose the heights are that were seen, as far as that is known now.
func (s *notices) settle() {
	if s.version == 0 {
		return
	}
	if s.advance() {
		s.doubt = time.Time{}
		s.stir()
	}
	switch {
	case s.seen <= s.at.height:
		s.seen, s.doubt = 0, time.Time{}
	case s.writing == 0, !s.doubt.IsZero() && time.Since(s.doubt) >= ackWait:
		s.at.height, s.seen, s.doubt = s.seen, 0, time.Time{}
		for height := range s.own {
			if height <= s.at.height {
				delete(s.own, height)
			}
		}
		s.advance()
		s.tell()
	case s.doubt.IsZero():
		s.doubt = time.Now()
		s.arm(ackWait)
	}
}

// advance goes on over heights of our own.
func (s *notices) advance() (advanced bool) {
	for {
		if _, ours := s.own[s.at.height+1]; !ours {
			return advanced
		}
		s.at.height++
		delete(s.own, s.at.height)
		advanced = true
	}
}

// arm has the doubt looked at after a while.
func (s *notices) arm(after time.Duration) {
	if s.armed {
		return
	}
	s.armed = true
	time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.armed = false
		if s.settle(); !s.doubt.IsZero() {
			s.arm(max(ackWait-time.Since(s.doubt), time.Millisecond))
		}
	})
}

// look returns the version, and what is closed when anything changes. sure: it is known whose all
// heights up to one are.
func (s *notices) look(height uint64) (version uint64, changed <-chan struct{}, sure bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
	return s.version, s.changed, s.seen == 0 || s.at.height >= height
}

// begun notes a stream of n that was accepted, and that tells what comes after a height. ended
// is to be called when it has.
func (s *notices) begun(n *node, height uint64, end func()) (ended func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &stream{node: n, height: height, end: end}
	s.stream = w
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stream == w {
			s.stream = nil
		}
	}
}

// check ends a stream that does not announce what reads know of: it is silent, or of a node
// that does not lead any more.
func (s *notices) check(o sight) {
	w := s.stream
	switch {
	case w == nil:
	case w.node == o.node && w.height >= max(o.height, w.owed):
		w.owed = 0
	case w.owed == 0:
		w.owed, w.since = max(o.height, 1), time.Now()
	case w.node == o.node && w.height >= w.owed: // it is behind, and gets on
		w.owed, w.since = o.height, time.Now()
	case time.Since(w.since) >= streamWait:
		w.end()
	}
}
