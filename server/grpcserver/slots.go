package grpcserver

import (
	"context"
	"sync/atomic"
	"time"
)

// slots bounds how many calls run at once, and ends those whose caller does not
// send or take a message in time. Time is counted in ticks, so that a call reads
// no clock.
type slots struct {
	free chan *slot
	all  []slot
	tick atomic.Int64
	step time.Duration
}

// slot is held by a call while it runs.
type slot struct {
	end   atomic.Pointer[endableContext] // of the call
	until atomic.Int64                   // the tick after which it is ended, or 0 for none
}

func newSlots(n int) *slots {
	s := &slots{free: make(chan *slot, n), all: make([]slot, n)}
	for i := range s.all {
		s.free <- &s.all[i]
	}
	return s
}

// take returns a free slot, or nil if there is none.
func (s *slots) take(ctx context.Context) *slot {
	select {
	case at := <-s.free:
		c, _ := ctx.Value(endableKey{}).(*endableContext)
		at.end.Store(c)
		return at
	default:
		return nil
	}
}

func (s *slots) give(at *slot) {
	at.until.Store(0)
	at.end.Store(nil)
	s.free <- at
}

// wait gives the caller d to move on, until the slot's moved is called.
func (s *slots) wait(at *slot, d time.Duration) {
	at.until.Store(s.tick.Load() + int64(d/max(s.step, 1)) + 2) // a tick may be over already
}

func (at *slot) moved() { at.until.Store(0) }

// maxStep is the longest tick.
const maxStep = time.Second

// sweep counts ticks, eight of them in least, and ends those that are late. Its
// result stops it and waits for that.
func (s *slots) sweep(least time.Duration) (stop func()) {
	s.step = max(min(least/8, maxStep), time.Millisecond)
	ticker := time.NewTicker(s.step)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				s.late(s.tick.Add(1))
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

func (s *slots) late(now int64) {
	for i := range s.all {
		at := &s.all[i]
		until := at.until.Load()
		if until == 0 || now <= until {
			continue
		}
		if c := at.end.Load(); c != nil && at.until.Load() == until { // still the same call
			c.end()
		}
	}
}
