package wasmhost

import (
	"math/rand/v2"
	"time"
)

// failure is why a slot has no instance, and when another may be tried.
type failure struct {
	reason error // the latest
	first  error // what ended the instance
	// restarts tells whether another is tried at all, retryAt when.
	restarts bool
	retryAt  time.Time
}

// due tells whether another instance may be tried.
func (f *failure) due(now time.Time) bool { return f.restarts && !now.Before(f.retryAt) }

// steadyLife is how long an instance has to live for its loss to count as the
// first again.
const steadyLife = time.Minute

// restartPause is how long after the nth loss or failed start in a row the next
// start waits: not at all after the first, then up to 100 ms · 2ⁿ⁻², at most half
// a minute, and at least half of that.
func restartPause(n int) time.Duration {
	if n < 2 {
		return 0
	}
	most := min(100*time.Millisecond<<min(n-2, 20), 30*time.Second)
	return most/2 + rand.N(most/2)
}
