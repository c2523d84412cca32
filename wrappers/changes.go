package wrappers

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// KeepChanges has the hub keep the latest changes of a backend that only this hub writes to,
// and that keeps none itself: the hub answers calls for changes. clock is the clock by which
// the backend judges expiries. Call KeepChanges before the hub is used.
//
// The hub keeps changes from the first call for them until some minutes after the last.
func (h *Hub) KeepChanges(clock func() time.Time) { h.clock = clock }

// keeps reports whether the hub keeps the changes of a backend with caps.
func (h *Hub) keeps(caps storage.Caps) bool {
	return h.clock != nil && caps.Has(storage.CapVersions) && !caps.Has(storage.CapChanges)
}

// Feed describes those who follow the changes of a backend.
type Feed struct {
	Followers atomic.Int64 // calls for changes that are under way, most of which wait
	// Behind, if set, is called for each page of changes that the hub keeps, with the age of
	// the oldest change on it.
	Behind func(time.Duration)
}

// Feed returns what is known of the followers. Set its Behind before the hub is used.
func (h *Hub) Feed() *Feed { return &h.feed }

// changes returns q.
func (h *Hub) changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	h.feed.Followers.Add(1)
	defer h.feed.Followers.Add(-1)
	caps := h.next.Info().Caps
	if caps.Has(storage.CapChangeNotice) && !h.keeps(caps) {
		return storage.ChangePage{}, &storage.Error{Code: storage.Unsupported, Op: "changes", Msg: "the backend tells that it changed, and not what"}
	}
	if !h.keeps(caps) {
		page, err := h.next.Changes(ctx, q)
		if err == nil && len(page.Changes) > 0 {
			err = h.others.settled(ctx, page.Next)
		}
		return page, err
	}
	if err := q.Validate(); err != nil {
		return storage.ChangePage{}, err
	}
	f := follower{h: h, q: q.Cut(storage.Limits{}), end: time.Now().Add(min(q.Wait, storage.MostWait))}
	return f.page(ctx)
}

// follower is one call for changes.
type follower struct {
	h   *Hub
	q   storage.ChangeQuery
	end time.Time // of its wait
	on  *ring     // the ring that it waited on, or nil
	// lingered says that it has looked again after a moment, before it waits.
	lingered bool
}

func (f *follower) page(ctx context.Context) (storage.ChangePage, error) {
	for {
		if err := storage.ContextError(ctx); err != nil {
			return storage.ChangePage{}, err
		}
		f.h.same()
		r, err := f.h.follow(ctx)
		if err != nil {
			return storage.ChangePage{}, err
		}
		f.h.expire(ctx, r)
		page, v, err := f.look(ctx, r)
		switch {
		case err != nil:
			return storage.ChangePage{}, err
		case v == nil:
			continue
		case f.q.FromNow || len(page.Changes) > 0:
			return page, nil
		}
		f.q.After = page.Next
		left := time.Until(f.end)
		if left <= 0 {
			return page, nil
		}
		f.on = r
		if v.busy && !f.lingered {
			f.lingered = true
			if err := f.linger(ctx, left); err != nil {
				return storage.ChangePage{}, err
			}
			continue
		}
		f.lingered = false
		changed := f.h.await(r, v.published)
		if changed == nil {
			continue
		}
		if err := f.wait(ctx, r, changed, left); err != nil {
			return storage.ChangePage{}, err
		}
	}
}

// look returns what r has for the follower, and the view that it is of, or nil if r is
// gone, which makes no difference to the follower.
func (f *follower) look(ctx context.Context, r *ring) (storage.ChangePage, *view, error) {
	after := f.q.After
	if f.q.FromNow {
		after = math.MaxUint64
	}
	v, ok := f.h.view(r, after)
	if !ok {
		if f.q.FromNow {
			return storage.ChangePage{}, nil, nil
		}
		return storage.ChangePage{}, nil, f.gone()
	}
	defer f.h.viewed(&v)
	switch {
	case f.on != nil && f.on != r: // what comes after the version is gone with the other
		return storage.ChangePage{}, nil, f.gone()
	case f.q.FromNow:
		return storage.ChangePage{Next: v.current}, &v, nil
	}
	if err := f.reachable(ctx, &v); err != nil {
		return storage.ChangePage{}, nil, err
	}
	page, oldest := v.collect(f.q)
	if len(page.Changes) > 0 && f.h.feed.Behind != nil {
		f.h.feed.Behind(time.Since(oldest))
	}
	return page, &v, nil
}

func (f *follower) gone() error {
	return storage.Errorf(storage.VersionGone, "the changes after version %d are lost: scan again, and go on from the version of the page", f.q.After)
}

// A store is busy that was written to within busyFor. Its followers look again after a moment,
// which is longer the more there are, before they have its writers wake them: that would cost
// each writer as much as its write.
const (
	busyFor      = time.Millisecond
	lingerFirst  = 200 * time.Microsecond
	lingerOfEach = 2 * time.Microsecond
	lingerMost   = 20 * time.Millisecond
)

// linger waits for that moment.
func (f *follower) linger(ctx context.Context, left time.Duration) error {
	d := lingerFirst + time.Duration(f.h.feed.Followers.Load())*lingerOfEach
	timer := time.NewTimer(min(d, lingerMost, left))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
}

// reachable refuses a version that the view does not go back to, or that the store has not
// come to. A version that no write has returned yet may have been seen in a read.
func (f *follower) reachable(ctx context.Context, v *view) error {
	current := v.current
	if f.q.After > current {
		page, err := f.h.next.Scan(ctx, storage.Query{Limit: 1, KeysOnly: true})
		if err != nil {
			return err
		}
		current = max(current, page.Version)
	}
	return f.q.CheckAfter(v.base, current)
}

// wait waits for a change. Of all who wait, one has an eye on the items that expire.
func (f *follower) wait(ctx context.Context, r *ring, changed <-chan struct{}, left time.Duration) error {
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-changed:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	case r.clerk <- struct{}{}:
	}
	defer func() { <-r.clerk }()
	if f.h.survey(ctx, r) {
		return nil // there is more to be looked through
	}
	if due := f.h.untilDue(r); due < left {
		timer.Reset(max(due, time.Millisecond))
	}
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
	return nil
}

// view shows what a ring has at one moment.
type view struct {
	log       logView
	base      uint64 // the oldest version that can be followed
	published uint64 // all changes up to it are in log
	current   uint64 // the latest version that a write has returned
	busy      bool   // it was written to between two looks, the second of which was just now
	begun     time.Time
}

// view returns what r has after a version, or false if it is gone.
func (h *Hub) view(r *ring, after uint64) (view, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ring != r {
		return view{}, false
	}
	now := time.Since(r.begun)
	if r.used = now; r.grown {
		r.last, r.grown = now, false
	}
	return view{r.log.view(after), r.base, r.published, r.ended, now-r.last < busyFor, r.begun}, true
}

// viewed ends the use of a view.
func (h *Hub) viewed(v *view) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v.log.done()
}

// await returns a channel that is closed when more is published or r is gone, or nil if that is so already.
func (h *Hub) await(r *ring, published uint64) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ring != r || r.published != published {
		return nil
	}
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// collect returns the page of q, whose bytes are the caller's, and when the oldest of its changes
// was made.
func (v *view) collect(q storage.ChangeQuery) (storage.ChangePage, time.Time) {
	c := storage.NewChangeCollector(q)
	if q.Start == nil && q.End == nil { // all of them come onto the page
		c.Grow(v.log.later(q.After))
	}
	var oldest time.Time
	var of []storage.Change
	full := false
	for set, data := range v.log.all(q.After) {
		of = of[:0] // their page has copies
		for len(data) > 0 {
			var one storage.Change
			one, data = nextChange(data, set.version)
			of = append(of, one)
		}
		if full = !c.Add(set.version, of...); full {
			break
		}
		if oldest.IsZero() && len(c.Page().Changes) > 0 {
			oldest = v.begun.Add(set.made)
		}
	}
	if !full {
		c.Reach(v.published)
	}
	page := c.Page()
	own(page.Changes)
	return page, oldest
}

// own gives changes bytes of their own, which they share.
func own(all []storage.Change) {
	size := 0
	for i := range all {
		size += all[i].Size()
	}
	bytes := make([]byte, 0, size)
	copied := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		at := len(bytes)
		bytes = append(bytes, b...)
		return bytes[at:len(bytes):len(bytes)]
	}
	for i := range all {
		c := &all[i]
		c.Key, c.End, c.Value = copied(c.Key), copied(c.End), copied(c.Value)
	}
}
