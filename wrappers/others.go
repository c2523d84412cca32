package wrappers

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Following is a Watchable whose watchers can be notified of the writes of others as well.
type Following interface {
	Watchable
	// Follow has all watchers notified of what others write to the backend, until stop is
	// called. bound is the age of a [Freshness] that the caller can still accept. f is nil
	// if only this host writes to the backend, or if it has no changes to follow.
	Follow(bound time.Duration) (f *Freshness, stop func())
}

// Freshness records how far a hub has notified its watchers of the writes of others.
type Freshness struct {
	at      atomic.Pointer[time.Time] // nil if nothing is known
	told    atomic.Uint64             // the version up to which watchers were notified
	bound   atomic.Int64              // nanoseconds; the largest that a caller can accept
	problem atomic.Pointer[string]    // why it makes no progress, or nil
}

// Age returns how long ago the watchers had been notified of all writes that others had
// completed by then.
func (f *Freshness) Age() time.Duration {
	at := f.at.Load()
	if at == nil {
		return 1<<63 - 1
	}
	// The monotonic clock stands still while a machine is suspended, and the other one may
	// be set back.
	now := time.Now()
	return max(now.Sub(*at), time.Duration(now.UnixNano()-at.UnixNano()))
}

// reached notes that watchers were notified of everything up to that time.
func (f *Freshness) reached(at time.Time) {
	f.at.Store(&at)
	f.problem.Store(nil)
}

// others holds what a hub needs to follow the writes of others.
type others struct {
	mu    sync.Mutex
	users int
	every atomic.Int64 // nanoseconds: how often it is asked how far the store is
	end   func()
	fresh *Freshness
	now   atomic.Pointer[Freshness] // as fresh, for those who only look
}

// Pauses of a follower whose calls fail, and the longest that a call may take beyond its wait.
const (
	firstPause  = 20 * time.Millisecond
	mostPause   = time.Second
	changesTime = 10 * time.Second
)

// noticesEach limits how often a follower begins again over a backend that reports that it
// changed, and not what: each time costs a question, and the caches all that they have.
const noticesEach = 5 * time.Millisecond

// Share says that others write to the backend, too. Call it before the hub is used.
func (h *Hub) Share() { h.shared = true }

// Follow has all watchers notified of the writes of others: see [Following]. It asks for the
// changes of the backend, or whether there were any ([storage.CapChangeNotice]), one call after
// the other, as long as there is a caller of Follow that has not stopped.
func (h *Hub) Follow(bound time.Duration) (f *Freshness, stop func()) {
	caps := h.next.Info().Caps
	if !h.shared || caps&(storage.CapChanges|storage.CapChangeNotice) == 0 {
		return nil, func() {}
	}
	o := &h.others
	o.mu.Lock()
	defer o.mu.Unlock()
	// It is known four times as often how far the store is, so that one late answer does no harm.
	every := max(bound/4, time.Millisecond)
	if o.users++; o.users == 1 || int64(every) < o.every.Load() {
		o.every.Store(int64(every))
	}
	if o.users == 1 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		o.fresh = &Freshness{}
		o.now.Store(o.fresh)
		s := &stranger{h: h, fresh: o.fresh, notices: !caps.Has(storage.CapChanges)}
		go func() {
			defer close(done)
			s.run(ctx)
		}()
		o.end = func() { cancel(); <-done }
	}
	o.fresh.bound.Store(max(o.fresh.bound.Load(), int64(bound)))
	return o.fresh, sync.OnceFunc(h.unfollow)
}

func (h *Hub) unfollow() {
	o := &h.others
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users--; o.users == 0 {
		o.now.Store(nil)
		o.end()
	}
}

// settled waits until the watchers were notified of all changes up to a version, or know that
// they were not. After a follower has received a change from this hub, no cache of this host
// returns the older item.
func (o *others) settled(ctx context.Context, version uint64) error {
	for {
		f := o.now.Load()
		if f == nil || f.told.Load() >= version || f.Age() > time.Duration(f.bound.Load()) {
			return nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return storage.ContextError(ctx)
		}
	}
}

// behind returns what keeps the follower back, for health, or "".
func (o *others) behind() string {
	f := o.now.Load()
	if f == nil {
		return ""
	}
	if why := f.problem.Load(); why != nil && f.Age() > 4*time.Duration(o.every.Load()) {
		return fmt.Sprintf("the changes of others cannot be followed, so that caches answer nothing: %s", *why)
	}
	return ""
}

// stranger follows the writes of others.
type stranger struct {
	h     *Hub
	fresh *Freshness
	// notices is set if the backend reports that it changed, but not what. Each time, the
	// watchers forget what they know, and it begins again.
	notices bool
	noticed time.Time // when it did last
	begun   bool
	after   uint64 // watchers were notified up to this version
	// The store was at goal at the time since; 0 if it was not asked.
	goal  uint64
	since time.Time
}

func (s *stranger) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		err := s.step(ctx)
		gone := storage.CodeOf(err) == storage.VersionGone
		if gone { // what came in between is not known
			s.begun = false
		}
		switch {
		case err == nil:
			pause = firstPause
			continue
		case gone && s.notices:
			s.h.missed() // and once more when it begins again: what is read until then may be older
			rest(ctx, min(noticesEach, time.Duration(s.h.others.every.Load())/2)-time.Since(s.noticed))
			s.noticed, pause = time.Now(), firstPause
			continue
		}
		why := err.Error()
		s.fresh.problem.Store(&why)
		rest(ctx, pause)
		pause = min(2*pause, mostPause)
	}
}

// rest waits for a while, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// step notifies the watchers of one page, and finds out how far the store is if that
// was not done for a while.
func (s *stranger) step(ctx context.Context) error {
	every := time.Duration(s.h.others.every.Load())
	ctx, cancel := context.WithTimeout(ctx, every+changesTime)
	defer cancel()
	if !s.begun || s.goal == 0 && s.fresh.Age() >= every {
		now := time.Now()
		page, err := s.h.next.Changes(ctx, storage.ChangeQuery{FromNow: true})
		if err != nil {
			return err
		}
		s.goal, s.since = page.Next, now
		if !s.begun {
			s.begun = true
			s.h.missed()
			s.told(page.Next)
		}
		s.arrive()
	}
	page, err := s.h.next.Changes(ctx, storage.ChangeQuery{After: s.after, Wait: every})
	if err != nil {
		return err
	}
	if page.Next < s.after {
		return storage.Errorf(storage.Internal, "the changes after version %d end at %d", s.after, page.Next)
	}
	s.h.tell(page.Changes)
	s.told(page.Next)
	s.arrive()
	return nil
}

func (s *stranger) told(version uint64) {
	s.after = version
	s.fresh.told.Store(version)
}

// arrive notes that watchers were notified of all that the store had at some time. Versions of
// notices are only compared for equality.
func (s *stranger) arrive() {
	if s.goal != 0 && (s.after == s.goal || s.after > s.goal && !s.notices) {
		s.fresh.reached(s.since)
		s.goal = 0
	}
}

// tell notifies the watchers of writes that are done.
func (h *Hub) tell(changes []storage.Change) {
	if len(changes) == 0 {
		return
	}
	w := &storage.WriteSet{Ops: make([]storage.Op, 0, len(changes))}
	for i := range changes {
		switch c := &changes[i]; c.Kind {
		case storage.ChangeDeleteRange:
			w.Ops = append(w.Ops, storage.DeleteRange(c.Key, c.End))
		case storage.ChangePut:
			w.Ops = append(w.Ops, storage.PutUntil(c.Key, nil, c.ExpiresAt))
		default:
			w.Ops = append(w.Ops, storage.Delete(c.Key))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, watcher := range h.watchers {
		watcher.Others(w)
	}
}

// missed has the watchers forget what they know: others may have written anything.
func (h *Hub) missed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, watcher := range h.watchers {
		watcher.Others(&storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(nil, nil)}})
	}
}

var _ Following = (*Hub)(nil)
