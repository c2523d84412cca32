package ratelimit

import (
	"sync"
	"time"
)

// bucket holds tokens, which come at a rate, and may go into debt. It is safe for
// concurrent use.
type bucket struct {
	rate, burst float64   // tokens per second, and held at most
	seen        time.Time // when it was looked up last; its shard's lock guards it

	mu     sync.Mutex
	tokens float64 // below 0 means debt
	last   time.Time
}

func newBucket(q Quota) *bucket {
	burst := float64(q.burst())
	return &bucket{rate: q.Rate, burst: burst, tokens: burst}
}

// setBack is by how much the clock has to be behind to count as set back. Less
// than that is calls that overtake each other.
const setBack = time.Minute

// fill adds what has come since the last time; what has come once does not come
// again when now is earlier. The lock is held.
func (b *bucket) fill(now time.Time) {
	switch d := now.Sub(b.last); {
	case d > 0:
		b.tokens = min(b.burst, b.tokens+d.Seconds()*b.rate)
		b.last = now
	case d < -setBack:
		b.last = now
	}
}

// rounding bounds what calculating with fractions of tokens may lose.
const rounding = 1e-6

// take takes n tokens if the bucket has them. What is more than it can ever hold is
// taken from a full one, as debt. If it refuses, it returns when to come again.
func (b *bucket) take(now time.Time, n int) (retryAfter time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	if missing := min(float64(n), b.burst) - b.tokens; missing > rounding {
		seconds := min(missing/b.rate, 1e9)
		return max(time.Millisecond, time.Duration(seconds*float64(time.Second))), false
	}
	b.tokens -= float64(n)
	return 0, true
}

// giveBack returns tokens that were taken for nothing.
func (b *bucket) giveBack(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.burst, b.tokens+float64(n))
}

// charge takes n tokens, whether they are there or not.
func (b *bucket) charge(now time.Time, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	b.tokens -= float64(n)
}

func (b *bucket) full(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	return b.tokens >= b.burst
}
