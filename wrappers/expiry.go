package wrappers

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// The most that a ring knows of items that expire. The expiry of others is not reported: a
// follower has their ExpiresAt.
const (
	mostExpiries      = 1 << 17
	mostExpiriesBytes = 16 << 20
)

// Expiries are looked after in steps, so that no follower's call takes long by it.
const (
	expiredAtOnce = 500                    // items that expire by one write set
	surveyPage    = 1000                   // items
	surveyStep    = 20 * time.Millisecond  // of one call
	burnTime      = 5 * time.Second        // for the write set that expires items
	dueAgain      = 100 * time.Millisecond // after which what failed is tried again
)

// expiring is an item that expires.
type expiring struct {
	key     string
	version uint64 // of the item
	at      time.Time
}

// expiries holds the items that expire, as far as a ring knows. The hub's lock guards them.
type expiries struct {
	step    time.Duration // in which the backend keeps expiries
	known   map[string]expiring
	bytes   int // of keys
	queue   expiryQueue
	late    []expiring // have expired, and wait for a version
	busy    bool       // a goroutine expires items
	retry   time.Time  // before which that is not tried again
	survey  bool       // what was there before the ring is still to be looked through
	looking bool       // a goroutine does
	from    []byte     // where that goes on
}

func (e *expiries) begin(info storage.Info) {
	e.step = max(info.Limits.TTLPrecision, time.Millisecond)
	e.known = map[string]expiring{}
	e.survey = info.Caps.Has(storage.CapTTL | storage.CapExpiryOnRead)
}

// none reports whether nothing is known that expires, or has.
func (e *expiries) none() bool { return len(e.known) == 0 && len(e.late) == 0 }

// note notes an item that expires, in the place of the one before.
func (e *expiries) note(x expiring) {
	e.forget(x.key)
	if len(e.known) >= mostExpiries || e.bytes+len(x.key) > mostExpiriesBytes {
		return
	}
	e.known[x.key] = x
	e.bytes += len(x.key)
	if len(e.queue) > 2*len(e.known)+surveyPage { // most are of items that are gone
		e.queue = e.queue[:0]
		for _, one := range e.known {
			e.queue = append(e.queue, one)
		}
		heap.Init(&e.queue)
		return
	}
	heap.Push(&e.queue, x)
}

// forget forgets the item at key.
func (e *expiries) forget(key string) {
	if _, ok := e.known[key]; ok {
		delete(e.known, key)
		e.bytes -= len(key)
	}
}

// unsaid reports expiries with the next change.
func (e *expiries) unsaid(all []expiring) { e.late = append(e.late, all...) }

// publish returns what expires at the version of s, encoded, and how many items that are. It
// comes before the changes of s.
func (e *expiries) publish(s *encoded) (gone []byte, count int) {
	for _, x := range append(e.late, s.gone...) {
		if known, ok := e.known[x.key]; ok && known.version == x.version { // nothing has replaced it
			gone = appendChange(gone, &storage.Change{Kind: storage.ChangeExpired, Key: []byte(x.key)})
			count++
			e.forget(x.key)
		}
	}
	e.late, s.gone = nil, nil
	if !s.expires && len(e.known) == 0 {
		return gone, count
	}
	for rest := s.data; len(rest) > 0; {
		var c storage.Change
		c, rest = nextChange(rest, s.version)
		switch {
		case !c.ExpiresAt.IsZero():
			e.note(expiring{string(c.Key), s.version, c.ExpiresAt})
		case c.Kind != storage.ChangeDeleteRange: // the expiry of a range's items is reported, which then changes nothing
			e.forget(string(c.Key))
		}
	}
	return gone, count
}

// due takes out what has expired at now, no more than at once.
func (e *expiries) due(now time.Time) (all []expiring) {
	for len(e.queue) > 0 && len(all) < expiredAtOnce {
		x := e.queue[0]
		if known, ok := e.known[x.key]; ok && known.version == x.version {
			if x.at.Add(e.step - time.Millisecond).After(now) {
				break
			}
			all = append(all, x)
		}
		heap.Pop(&e.queue)
	}
	return all
}

// untilDue returns how long it is until an item expires; an hour, if none does.
func (h *Hub) untilDue(r *ring) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := &r.expiries
	if len(e.queue) == 0 {
		return time.Hour
	}
	return max(e.queue[0].at.Add(e.step-time.Millisecond).Sub(h.clock()), time.Until(e.retry))
}

// expire has the items expire whose time has come: they are gone from the backend already,
// and get a version by a write set that changes nothing else.
func (h *Hub) expire(ctx context.Context, r *ring) {
	now := h.clock()
	h.mu.Lock()
	e := &r.expiries
	if h.ring != r || e.busy || len(e.queue) == 0 || time.Now().Before(e.retry) {
		h.mu.Unlock()
		return
	}
	all := e.due(now)
	e.busy = len(all) > 0
	h.mu.Unlock()
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), burnTime)
	defer cancel()
	gone, kept := h.absent(ctx, all)
	if len(gone) > 0 {
		h.burn(ctx, gone)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.busy = false; len(kept) > 0 {
		e.retry = time.Now().Add(dueAgain)
		for _, x := range kept {
			heap.Push(&e.queue, x)
		}
	}
}

// absent returns those of the items that are no longer in the backend, and those that it keeps
// longer, or of which it cannot say. What is there and another item is neither.
func (h *Hub) absent(ctx context.Context, all []expiring) (gone, kept []expiring) {
	for _, x := range all {
		it, err := h.next.Get(ctx, []byte(x.key))
		switch {
		case errors.Is(err, storage.ErrNotFound):
			gone = append(gone, x)
		case err != nil || it.Version == x.version:
			kept = append(kept, x)
		}
	}
	return gone, kept
}

// burn writes what gives expired items a version. If that fails, they are reported with the
// next change.
func (h *Hub) burn(ctx context.Context, gone []expiring) {
	f := &flight{set: storage.WriteSet{Ops: []storage.Op{storage.Put(ExpiryMark, nil), storage.Delete(ExpiryMark)}}, burns: gone}
	h.mu.Lock()
	if h.ring == nil {
		h.mu.Unlock()
		return
	}
	h.begin(f)
	h.mu.Unlock()
	version, err := uint64(0), errPanicked
	defer func() { h.end(f, version, err) }()
	version, err = h.next.Apply(ctx, &f.set)
}

// survey looks through what was in the backend before the ring, for items that expire. It
// reports whether there is more to look through.
func (h *Hub) survey(ctx context.Context, r *ring) (more bool) {
	for end := time.Now().Add(surveyStep); time.Now().Before(end); {
		h.mu.Lock()
		e := &r.expiries
		if h.ring != r || !e.survey || e.looking {
			h.mu.Unlock()
			return false
		}
		e.looking = true
		from := e.from
		h.mu.Unlock()
		page, err := h.next.Scan(ctx, storage.Query{Start: from, KeysOnly: true, Limit: surveyPage})
		h.mu.Lock()
		e.looking = false
		if err == nil {
			e.found(page)
		}
		more = err == nil && e.survey
		h.mu.Unlock()
		if !more {
			return false
		}
	}
	return true
}

// found notes the items of a page that expire, if nothing newer is known of them. Whether
// they were replaced since is seen when their time has come.
func (e *expiries) found(page storage.Page) {
	for i := range page.Items {
		it := &page.Items[i]
		if _, known := e.known[string(it.Key)]; !known && !it.ExpiresAt.IsZero() {
			e.note(expiring{string(it.Key), it.Version, it.ExpiresAt})
		}
	}
	e.from = bytes.Clone(page.Next)
	e.survey = page.Next != nil
}

// expiryQueue is a heap of items, the one that expires first in front.
type expiryQueue []expiring

func (q expiryQueue) Len() int           { return len(q) }
func (q expiryQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q expiryQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push adds x, for package heap alone.
func (q *expiryQueue) Push(x any) { *q = append(*q, x.(expiring)) }

// Pop removes the last item, for package heap alone.
func (q *expiryQueue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = expiring{}
	*q = (*q)[:len(*q)-1]
	return last
}
