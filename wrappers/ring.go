package wrappers

import (
	"context"
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// unusedFor limits how long an unused ring is kept.
const unusedFor = 5 * time.Minute

// ring keeps the latest changes of a backend, since the first follower came. The hub's lock
// guards it.
type ring struct {
	ready     chan struct{} // closed once base is known, or the ring is given up
	begun     time.Time     // other times are counted from it
	log       changeLog
	pending   []*encoded // that are not in log yet, in order
	count     int        // changes in pending
	bytes     int
	start     uint64        // the version that the store was at when the ring was begun
	base      uint64        // the version before the first change that is kept
	published uint64        // all changes up to it are in log
	ended     uint64        // the latest version that an apply has returned
	changed   chan struct{} // closed when something is published; nil if no call waits
	used      time.Duration // when it was asked last
	made      time.Duration // when what was published last was made, or earlier
	grown     bool          // something was published since it was asked last
	last      time.Duration // when it was asked last and had grown
	clerk     chan struct{} // held by the follower that looks after expiries
	expiries  expiries
}

// follow returns the ring of those who follow, which the first of them begins.
func (h *Hub) follow(ctx context.Context) (*ring, error) {
	for {
		h.mu.Lock()
		r := h.ring
		if r == nil {
			return h.beginRing(ctx) // and unlocks
		}
		h.mu.Unlock()
		select {
		case <-r.ready:
		case <-ctx.Done():
			return nil, storage.ContextError(ctx)
		}
		if h.is(r) {
			return r, nil
		}
	}
}

func (h *Hub) is(r *ring) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ring == r
}

// beginRing begins a ring: writes are noted first, and then it is looked at which version
// all that follow are after. The lock is held, and let go.
func (h *Hub) beginRing(ctx context.Context) (*ring, error) {
	r := &ring{ready: make(chan struct{}), begun: time.Now(), clerk: make(chan struct{}, 1)}
	r.expiries.begin(h.next.Info())
	for f := h.first; f != nil; f = f.next {
		f.floor = 0
	}
	if h.ring = r; len(h.watchers) == 0 { // no goroutine has seen it since
		incarnation := h.next.Info().Incarnation
		h.known.Store(&incarnation)
	}
	h.following.Store(true)
	h.watched.Store(true)
	h.mu.Unlock()
	defer close(r.ready)
	page, err := h.next.Scan(ctx, storage.Query{Limit: 1, KeysOnly: true})
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		if h.ring == r {
			h.drop()
		}
		return nil, err
	}
	r.start, r.base, r.published = page.Version, page.Version, page.Version
	r.ended = max(r.ended, page.Version)
	r.pending = slices.DeleteFunc(r.pending, func(s *encoded) bool {
		if s.version > r.base {
			return false
		}
		r.done(s)
		return true
	})
	h.publish()
	return r, nil
}

// drop gives the ring up: its followers find that out. The lock is held.
func (h *Hub) drop() {
	r := h.ring
	if r == nil {
		return
	}
	h.ring = nil
	h.following.Store(false)
	h.watched.Store(len(h.watchers) > 0)
	r.wake()
}

func (r *ring) wake() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// ended notes how an apply ended. If its outcome is unknown, so are its changes, and the ring is
// given up. The lock is held.
func (h *Hub) ended(f *flight, version uint64, err error, made *encoded) {
	r := h.ring
	switch {
	case err != nil && storage.Unknown(err):
		h.drop()
		return
	case err != nil:
		r.expiries.unsaid(f.burns)
	default:
		if made == nil {
			made = h.encode(&f.set)
		}
		made.version, made.gone = version, f.burns
		added, ok := r.add(f, made)
		if !added {
			made.free()
		}
		if !ok {
			h.drop()
			return
		}
		r.ended = max(r.ended, version)
	}
	if len(r.pending) > 1 && (r.count > mostChanges || r.bytes > mostChangesBytes) {
		h.drop()
		return
	}
	select {
	case <-r.ready:
		h.publish()
	default:
	}
}

// add notes what an apply has changed, if that is something; not ok: it cannot be.
func (r *ring) add(f *flight, s *encoded) (added, ok bool) {
	if s.version <= r.start && f.floor < r.start { // it began before the ring, or with it
		return false, true
	}
	if s.version <= max(f.floor, r.published) { // it changed nothing, or repeats what did
		r.expiries.unsaid(f.burns)
		return false, !s.stores || s.id != [16]byte{}
	}
	if s.count == 0 && len(s.gone) == 0 {
		return false, true
	}
	at, _ := slices.BinarySearchFunc(r.pending, s, func(a, b *encoded) int {
		switch {
		case a.version != b.version:
			return compare(a.version, b.version)
		case a.stores && !b.stores: // what deletes alone at the same version has changed nothing after it
			return -1
		}
		return 1
	})
	for _, same := range r.pending[:at] {
		if same.version == s.version && same.id == s.id && s.id != [16]byte{} {
			return false, true
		}
	}
	r.pending = slices.Insert(r.pending, at, s)
	r.count += s.count
	r.bytes += cap(s.data)
	return true, true
}

func compare(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// next publishes the changes of a plain write set at once, if they are the next: nothing else
// is under way, or waits. The lock is held.
func (r *ring) next(h *Hub, f *flight, version uint64, size int) bool {
	if h.first != nil || len(r.pending) > 0 || version <= max(f.floor, r.published) || f.burns != nil || !r.expiries.none() {
		return false
	}
	select {
	case <-r.ready:
	default:
		return false
	}
	r.log.addPlain(version, r.now(), &f.set, size)
	r.ended = max(r.ended, version)
	h.publishedTo(version)
	return true
}

// now returns when what is published now was made, or earlier: the clock is read once between two
// who look.
func (r *ring) now() time.Duration {
	if !r.grown {
		r.grown, r.made = true, time.Since(r.begun)
	}
	return r.made
}

// publish publishes what no apply under way can come before. The lock is held.
func (h *Hub) publish() {
	r := h.ring
	safe := r.ended
	if h.first != nil {
		safe = h.first.floor
	}
	if safe <= r.published {
		return
	}
	n := 0
	for ; n < len(r.pending) && r.pending[n].version <= safe; n++ {
		s := r.pending[n]
		gone, count := r.expiries.publish(s)
		r.log.add(s.version, r.now(), count+s.count, gone, s.data)
		r.done(s)
	}
	r.pending = slices.Delete(r.pending, 0, n)
	h.publishedTo(safe)
}

// publishedTo notes that all changes up to a version are in the log. A ring that has not been
// asked for long is given up: that is checked once a block.
func (h *Hub) publishedTo(version uint64) {
	r := h.ring
	r.published = version
	if r.log.begun {
		r.base = max(r.base, r.log.trim())
		if r.changed == nil && time.Since(r.begun)-r.used > unusedFor {
			h.drop()
			return
		}
	}
	r.wake()
}

// done lets go of what is pending no longer.
func (r *ring) done(s *encoded) {
	r.count -= s.count
	r.bytes -= cap(s.data)
	s.free()
}
