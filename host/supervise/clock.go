package supervise

import (
	"sync/atomic"
	"time"
)

// Clock is the host's, as a plugin is told of it: in ms, and it never goes back. It
// is safe for concurrent use.
type Clock struct {
	clock func() time.Time
	last  atomic.Int64 // the latest that was told
}

// NewClock is a clock that goes by that one.
func NewClock(clock func() time.Time) *Clock { return &Clock{clock: clock} }

// Now is the time, or the latest that was told if that is later.
func (c *Clock) Now() int64 {
	now := c.clock().UnixMilli()
	for {
		last := c.last.Load()
		if now <= last {
			return last
		}
		if c.last.CompareAndSwap(last, now) {
			return now
		}
	}
}

// Later is the time, and later than was ever told: a plugin that forgets its
// versions begins them anew at the time of its start.
func (c *Clock) Later() int64 {
	for {
		last := c.last.Load()
		now := max(c.clock().UnixMilli(), last+1)
		if c.last.CompareAndSwap(last, now) {
			return now
		}
	}
}
