// Package backoff says how long to wait before something is tried again: random, so that
// those who failed together do not return together, and up to a bound that doubles.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Doubling yields bounds that double from First to Most.
type Doubling struct{ First, Most time.Duration }

// Bound returns the longest wait before retry n (from 0).
func (d Doubling) Bound(n int) time.Duration {
	if n >= 32 || d.First > d.Most>>n {
		return d.Most
	}
	return d.First << n
}

// Full returns a wait before retry n that is uniform up to the bound: for callers that
// would otherwise retry together.
func (d Doubling) Full(n int) time.Duration { return rand.N(d.Bound(n) + 1) }

// Half returns a wait before retry n that is uniform between half of the bound and the
// bound: for a single caller whose attempts should become rarer.
func (d Doubling) Half(n int) time.Duration { return Half(d.Bound(n)) }

// Half returns a wait that is uniform between half of a bound and the bound.
func Half(bound time.Duration) time.Duration { return bound/2 + rand.N(bound/2+1) }

// Wait waits, and returns false if ctx or over ends first. A nil over never ends.
func Wait(ctx context.Context, d time.Duration, over <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-over:
	}
	return false
}
