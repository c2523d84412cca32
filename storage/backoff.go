package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Backoff is how often and how late something is tried again: before retry n
// (from 0) a wait that is uniform in [0, min(Cap, Base·2ⁿ)), known as full
// jitter, so that callers who lost together do not return together.
type Backoff struct {
	Attempts int           // in all, the first included; 0: the default, 16
	Base     time.Duration // 0: the default, 2 ms
	Cap      time.Duration // 0: the default, 250 ms
}

// Read only.
var defaultBackoff = Backoff{Attempts: 16, Base: 2 * time.Millisecond, Cap: 250 * time.Millisecond}

// DefaultBackoff is what stands for the zero fields of a Backoff.
func DefaultBackoff() Backoff { return defaultBackoff }

func (b Backoff) orDefault() Backoff {
	if b.Attempts <= 0 {
		b.Attempts = defaultBackoff.Attempts
	}
	if b.Base <= 0 {
		b.Base = defaultBackoff.Base
	}
	if b.Cap <= 0 {
		b.Cap = defaultBackoff.Cap
	}
	return b
}

// ceiling is the longest wait before retry n.
func (b Backoff) ceiling(n int) time.Duration {
	if n >= 32 || b.Base > b.Cap>>n {
		return b.Cap
	}
	return b.Base << n
}

// onConflict runs try until it ends in something else than Conflict, the
// attempts are used up (RetriesExhausted) or ctx ends.
func (b Backoff) onConflict(ctx context.Context, try func() error) error {
	for n := 0; ; n++ {
		err := try()
		if err == nil || !errors.Is(err, ErrConflict) {
			return err
		}
		if n+1 >= b.Attempts {
			return &Error{Code: RetriesExhausted, Msg: fmt.Sprintf("conflict on each of %d attempts", b.Attempts)}
		}
		timer := time.NewTimer(rand.N(b.ceiling(n)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ContextError(ctx)
		}
	}
}
