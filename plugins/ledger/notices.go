package ledger

import (
	"sync"
	"time"
)

// notices decide whether others have written to the vault, by its height, which each write
// raises by one. A height at which no write of this backend was acknowledged is a write of
// others. If another node or another process answers, others may have written anything, because
// the heights of two nodes are not comparable. The zero value is inactive.
type notices struct {
	mu      sync.Mutex
	version uint64        // raised whenever others may have written; 0 while inactive
	changed chan struct{} // closed by the next change of these fields
	at      sight         // every height up to it is accounted for; without a node if unknown
	own     map[uint64]struct{}
	seen    uint64    // the highest height above at that is not accounted for, or 0
	doubt   time.Time // since when an acknowledgement of the next height is awaited
	armed   bool      // a timer looks at the doubt
	writing int       // writes of ours that are under way
	used    time.Time // time of the last call
	waiting int       // calls that wait for a change
	stream  *stream   // of announcements, or nil
	last    uint64    // the version when they were last active
}

// sight is a height that a node reported.
type sight struct {
	node          *node
	height        uint64
	before, after uint32 // dials of the node before the request and after the answer
}

// stream is the state of a stream of announcements.
type stream struct {
	node   *node
	height uint64 // the last announced
	end    func()
	owed   uint64    // a height that reads returned and the stream has not announced, or 0
	since  time.Time // when owed was set
}

const (
	// ackWait is how long an unknown height may belong to a write of ours in flight: its
	// acknowledgement arrives shortly after the announcement.
	ackWait = 20 * time.Millisecond
	// mostOwn bounds the acknowledged heights above a gap.
	mostOwn = 4096
	// streamWait is how long a stream may lag behind reads before it is replaced.
	streamWait = time.Second
	// unusedFor is how long notices stay active without calls.
	unusedFor = time.Minute
)

// use activates the notices, and returns whether they were inactive and the height up to which
// all is accounted for.
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

// known reports whether there is a height up to which all is accounted for.
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

// over deactivates the notices if they are unused, and reports whether it did.
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

// stir wakes all waiting calls. The lock is held, as in tell, anew, same, reach, settle, advance,
// arm and check.
func (s *notices) stir() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *notices) tell() {
	s.version++
	s.stir()
}

// anew notes that others may have written anything, and continues from o.
func (s *notices) anew(o sight) {
	s.at, s.seen = o, 0
	clear(s.own)
	s.tell()
}

// same reports whether o is from the same process as at: the node was not dialed since.
func (s *notices) same(o sight) bool { return s.at.node == o.node && o.after <= s.at.before }

// lost notes that others may have written anything.
func (s *notices) lost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version > 0 {
		s.anew(sight{})
	}
}

// read notes the height of a read, before which all up to least was accounted for.
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

// announced notes an announcement; again if it is not above the previous one.
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

// writes notes the begin of a write of ours.
func (s *notices) writes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing++
}

// wrote notes the end of a write, whatever its outcome.
func (s *notices) wrote() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing--
	s.settle()
}

// height returns the height up to which all is accounted for.
func (s *notices) height() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at.height
}

// acknowledged notes the height of a write of ours, before which all up to least was accounted
// for; again if it may be the height of an earlier attempt.
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

// reach notes that the vault has reached a height.
func (s *notices) reach(height uint64) {
	s.seen = max(s.seen, height)
	s.settle()
}

// settle accounts for the heights seen so far, as far as it is known who wrote them.
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

// advance moves at over our own heights.
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

// arm schedules the next settle.
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

// look returns the version, a channel that is closed by the next change, and whether all up to
// height is accounted for.
func (s *notices) look(height uint64) (version uint64, changed <-chan struct{}, sure bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
	return s.version, s.changed, s.seen == 0 || s.at.height >= height
}

// begun notes that n has accepted a stream of announcements above height. The caller calls
// ended at its end.
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

// check ends a stream that does not announce what reads return: it is silent, or its node no
// longer leads.
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
