package clock

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// All in ms, as the clock counts.
const (
	// tolerance is how far the source may be behind before it counts as set back.
	// Within it the clock stands still until the source has caught up.
	tolerance = 1_000
	// leap is how much the source must gain on the monotonic clock between two calls
	// to count as set ahead; less is drift, noted in steps of drift.
	leap  = 5_000
	drift = 100
	// A clock that is ahead of its source runs at 7/8 of its speed, so that they meet,
	// and a time to live is at most a seventh too long meanwhile.
	slowNum, slowDen = 7, 8
)

// Clock follows a source and never goes back. If the source is set back, the clock goes
// on at 7/8 of its speed until the source has caught up. If the source is set ahead, the
// clock follows at once. It is safe for concurrent use.
type Clock struct {
	read   func() reading
	start  int64        // the first time of the source
	last   atomic.Int64 // the latest time that was returned
	gained atomic.Int64 // time of the source since start minus monotonic time

	mu     sync.Mutex
	base   int64 // what was returned when the source was last found set back
	from   int64 // the monotonic time of that
	step   Step
	notify []*func(Step)
}

// reading is what the source shows. Where it has no monotonic time, passed is the
// difference of its times.
type reading struct {
	now    int64 // since 1970
	passed int64 // since the start, monotonic
}

// Step describes a jump of the source.
type Step struct {
	At time.Time     // by the clock, after the step
	By time.Duration // negative: the source was set back
}

// One for the process: parts without a clock of their own must agree as well.
var system = fromTime(time.Now)

// System returns the clock of this process, which follows time.Now.
func System() *Clock { return system }

// New returns a clock that follows source, or the one of [System] if source is nil.
func New(source func() time.Time) *Clock {
	if source == nil {
		return system
	}
	return fromTime(source)
}

func fromTime(source func() time.Time) *Clock {
	start := source()
	return follow(func() reading {
		t := source()
		return reading{t.UnixMilli(), t.Sub(start).Milliseconds()}
	})
}

func follow(read func() reading) *Clock {
	c := &Clock{read: read, start: read().now}
	c.last.Store(c.start)
	return c
}

// Notify has f called at each step of the source, until stop is called. f must not call
// the clock.
func (c *Clock) Notify(f func(Step)) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notify = append(c.notify, &f)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.notify = slices.DeleteFunc(c.notify, func(g *func(Step)) bool { return g == &f })
	}
}

// Now returns the time in UTC, to the millisecond.
func (c *Clock) Now() time.Time { return time.UnixMilli(c.Millis()).UTC() }

// Millis returns the time in milliseconds since 1970.
func (c *Clock) Millis() int64 {
	r := c.read()
	if r.now < c.last.Load()-tolerance {
		return c.behind()
	}
	if c.gain(r)-c.gained.Load() >= drift {
		c.ahead(r)
	}
	return c.advance(r.now)
}

// gain returns how much the source has gained on the monotonic clock since the start.
func (c *Clock) gain(r reading) int64 { return r.now - c.start - r.passed }

// Later returns the time, and later than was ever returned: a plugin that forgets its
// versions begins them anew at the time of its start.
func (c *Clock) Later() int64 {
	for {
		now, last := c.Millis(), c.last.Load()
		if next := max(now, last+1); c.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// Ahead returns how far the clock is ahead of its source because that was set back, and
// zero otherwise.
func (c *Clock) Ahead() time.Duration {
	ahead := c.Millis() - c.read().now
	if ahead <= tolerance {
		return 0
	}
	return time.Duration(ahead) * time.Millisecond
}

// LastStep returns the latest step of the source, and the zero Step if there was none.
func (c *Clock) LastStep() Step {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.step
}

// advance returns now, or the latest time that was returned if that is later.
func (c *Clock) advance(now int64) int64 {
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

// behind returns the time while the source is behind what was returned before.
func (c *Clock) behind() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.read() // a caller may have slept since it looked
	last := c.last.Load()
	if r.now >= last-tolerance {
		return c.advance(r.now)
	}
	slow := func() int64 { return c.base + (r.passed-c.from)*slowNum/slowDen }
	lost := c.gained.Load() - c.gain(r)
	switch {
	case last-slow() > tolerance: // what is slow is an earlier time that it was set back
		lost = last - r.now
		c.base, c.from = last, r.passed
		fallthrough
	case lost > tolerance:
		c.gained.Store(c.gain(r))
		c.stepped(last, -lost)
	}
	return c.advance(slow())
}

// ahead notes that the source has gained on the monotonic clock.
func (c *Clock) ahead(r reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := c.gain(r) - c.gained.Load()
	if by < drift { // another caller has noted it
		return
	}
	c.gained.Store(c.gain(r))
	if by >= leap {
		c.stepped(r.now, by)
	}
}

func (c *Clock) stepped(at, by int64) {
	c.step = Step{time.UnixMilli(at).UTC(), time.Duration(by) * time.Millisecond}
	for _, f := range c.notify {
		(*f)(c.step)
	}
}
