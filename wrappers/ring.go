package wrappers

import (
	"context"
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// What a ring keeps at most, with what waits to be published.
const (
	mostChanges      = 1 << 16
	mostChangesBytes = 16 << 20
	changeOverhead   = 144 // bytes of a change beside its keys and value
)

// unusedFor is how long a ring is kept that nobody asks.
const unusedFor = 5 * time.Minute

// ring is the latest changes of a backend, from when somebody began to follow it. The hub's
// lock guards it; what is in sets never changes.
type ring struct {
	ready chan struct{} // closed once base is known, or the ring is given up
	// flights are the applies in flight, in the order in which they began.
	first, latest *flight
	free          *flight      // to be used again
	pending       []*changeSet // that are not published yet, in order
	sets          []*changeSet // that are, in order
	count         int          // changes in both
	bytes         int
	start         uint64        // the version that the store was at when the ring was begun
	base          uint64        // the version before the first change that is kept
	published     uint64        // all changes up to it are in sets
	ended         uint64        // the latest version that an apply has answered
	changed       chan struct{} // closed when something is published; nil: nobody waits
	used          time.Time     // when it was asked last
	last          time.Time     // when something was published last
	clerk         chan struct{} // held by the follower that looks after expiries
	expiries      expiries
}

// changeSet is the changes of one write set.
type changeSet struct {
	version uint64
	id      [16]byte
	changes []storage.Change
	expires []expiring // what expires at the version, if it still is then as it was
	bytes   int
	stores  bool // a put is in it
	made    time.Time
	one     [1]storage.Change // where changes are, if it is one
}

// flight is an apply in flight. Its version, if it gets one, is above floor: what had ended
// when it began.
type flight struct {
	floor      uint64
	prev, next *flight
	burns      []expiring // what expires by it
}

// begin is the flight of an apply that begins now; nil: nobody follows.
func (r *ring) begin() *flight {
	if r == nil {
		return nil
	}
	f := r.free
	if f == nil {
		f = &flight{}
	} else {
		r.free = f.next
	}
	*f = flight{floor: r.ended, prev: r.latest}
	if r.latest != nil {
		r.latest.next = f
	} else {
		r.first = f
	}
	r.latest = f
	return f
}

// land takes a flight out.
func (r *ring) land(f *flight) {
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		r.first = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		r.latest = f.prev
	}
}

// follow is the ring of those who follow, which the first of them begins.
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
	r := &ring{ready: make(chan struct{}), used: time.Now(), clerk: make(chan struct{}, 1)}
	r.expiries.begin(h.next.Info())
	for w := range h.applies {
		h.applies[w] = r.begin()
	}
	if h.ring = r; len(h.watchers) == 0 { // nobody has looked at it since
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
	r.pending = slices.DeleteFunc(r.pending, func(s *changeSet) bool {
		if s.version <= r.base {
			r.count -= len(s.changes)
			r.bytes -= s.bytes
		}
		return s.version <= r.base
	})
	r.publish(time.Now())
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
	for w := range h.applies {
		h.applies[w] = nil
	}
	r.wake()
}

func (r *ring) wake() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// ended notes how an apply ended. If nobody can say what became of it, nobody can say what
// changed either, and the ring is given up. The lock is held.
func (h *Hub) ended(f *flight, w *storage.WriteSet, version uint64, err error, made *changeSet) {
	r, now := h.ring, time.Now()
	r.land(f)
	switch {
	case err != nil && storage.Unknown(err):
		h.drop()
		return
	case err != nil:
		r.expiries.unsaid(f.burns)
	default:
		if made == nil { // the ring was begun just now
			made = changesOf(w, h.clock)
		}
		made.version, made.expires, made.made = version, f.burns, now
		if !r.add(f, made) {
			h.drop()
			return
		}
		r.ended = max(r.ended, version)
	}
	f.burns, f.next, r.free = nil, r.free, f
	r.trim()
	if r.full() && len(r.pending) > 1 || r.changed == nil && now.Sub(r.used) > unusedFor {
		h.drop()
		return
	}
	select {
	case <-r.ready:
		r.publish(now)
	default:
	}
}

// add notes what an apply has changed; false: that cannot be.
func (r *ring) add(f *flight, s *changeSet) bool {
	if s.version <= r.start && f.floor < r.start { // it began before the ring, or with it
		return true
	}
	if s.version <= max(f.floor, r.published) { // it changed nothing, or repeats what did
		r.expiries.unsaid(f.burns)
		return !s.stores || s.id != [16]byte{}
	}
	if len(s.changes) == 0 && len(s.expires) == 0 {
		return true
	}
	at, _ := slices.BinarySearchFunc(r.pending, s, func(a, b *changeSet) int {
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
			return true
		}
	}
	r.pending = slices.Insert(r.pending, at, s)
	r.count += len(s.changes)
	r.bytes += s.bytes
	return true
}

func compare(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

// publish publishes what no apply in flight can come before. The lock is held.
func (r *ring) publish(now time.Time) {
	safe := r.ended
	if r.first != nil {
		safe = r.first.floor
	}
	if safe <= r.published {
		return
	}
	n := 0
	for n < len(r.pending) && r.pending[n].version <= safe {
		s := r.pending[n]
		before := len(s.changes)
		r.expiries.publish(s)
		for _, c := range s.changes[before:] {
			s.bytes += c.Size() + changeOverhead
			r.bytes += c.Size() + changeOverhead
		}
		r.count += len(s.changes) - before
		r.sets = append(r.sets, s)
		n++
	}
	r.pending = slices.Delete(r.pending, 0, n)
	r.published, r.last = safe, now
	r.trim()
	r.wake()
}

// full reports whether more changes are kept than may be.
func (r *ring) full() bool { return r.count > mostChanges || r.bytes > mostChangesBytes }

// trim lets the oldest changes go that are too many. The latest write set stays, however
// large.
func (r *ring) trim() {
	for r.full() && len(r.sets) > 0 && len(r.sets)+len(r.pending) > 1 {
		s := r.sets[0]
		r.count -= len(s.changes)
		r.bytes -= s.bytes
		r.base = s.version
		r.sets = r.sets[1:]
	}
}

// changesOf are the changes of a write set, as copies. What has expired by now is a delete,
// and what is the hub's own is none.
func changesOf(w *storage.WriteSet, clock func() time.Time) *changeSet {
	size := 0
	for i := range w.Ops {
		o := &w.Ops[i]
		size += len(o.Key) + len(o.End) + len(o.Value)
	}
	s := &changeSet{id: w.ID, bytes: changeOverhead + len(w.Ops)*changeOverhead + size}
	if s.changes = s.one[:0]; len(w.Ops) > 1 {
		s.changes = make([]storage.Change, 0, len(w.Ops))
	}
	all := make([]byte, 0, size)
	own := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		at := len(all)
		all = append(all, b...)
		return all[at:len(all):len(all)]
	}
	for i := range w.Ops {
		o := w.Ops[i]
		if o.Kind != storage.OpDeleteRange && reserved(o.Key) {
			continue
		}
		if o.Kind == storage.OpPut && !o.ExpiresAt.IsZero() && storage.Expired(o.ExpiresAt, clock()) {
			o = storage.Delete(o.Key)
		}
		c := storage.OpChange(&o, 0)
		c.Key, c.End, c.Value, c.ExpiresAt = own(c.Key), own(c.End), own(c.Value), storage.ClampExpiry(c.ExpiresAt)
		s.changes = append(s.changes, c)
		s.stores = s.stores || c.Kind == storage.ChangePut
	}
	return s
}
