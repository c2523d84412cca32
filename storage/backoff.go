package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/internal/backoff"
)

// Backoff is how often and how late something is tried again: before retry n
// (from 0) a wait that is uniform in [0, min(Cap, Base·2ⁿ)), known as full
// jitter, so that callers who lost together do not return together.
type Backoff struct {
	Attempts int           // in all, the first included; 0: the default, 16
	Base     time.Duration // 0: the default, 2 ms
	Cap      time.Duration // 0: the default, 250 ms
	// Deadline is how long after the first attempt another may begin; 0: as long
	// as the context allows.
	Deadline time.Duration
}

// Read only.
var defaultBackoff = Backoff{Attempts: 16, Base: 2 * time.Millisecond, Cap: 250 * time.Millisecond}

// DefaultBackoff is what stands for the zero fields of a Backoff.
func DefaultBackoff() Backoff { return defaultBackoff }

// ClassicBackoff is how inferadb-common-storage repeats a compare-and-set: five
// times, after waits of up to 100 ms each.
func ClassicBackoff() Backoff {
	return Backoff{Attempts: 6, Base: 50 * time.Millisecond, Cap: 100 * time.Millisecond}
}

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

// Wait waits before retry n (from 0), at least as long as atLeast, which is what
// an [Error] asks for with its RetryAfter. It answers the error of ctx where that
// ends first.
func (b Backoff) Wait(ctx context.Context, n int, atLeast time.Duration) error {
	b = b.orDefault()
	d := backoff.Doubling{First: b.Base, Most: b.Cap}.Full(n)
	if !backoff.Wait(ctx, max(d, atLeast), nil) {
		return ContextError(ctx)
	}
	return nil
}

// RetryOnConflict runs a whole read, modify and write until it ends in something
// else than Conflict and answers what try did. RetriesExhausted when attempts or
// deadline are used up. Any other error ends it at once, an unknown outcome
// included: only the caller can know whether try may run twice.
func RetryOnConflict[T any](ctx context.Context, b Backoff, try func(context.Context) (T, error)) (T, error) {
	b = b.orDefault()
	start := time.Now()
	for n := 0; ; n++ {
		answer, err := try(ctx)
		if err == nil || !errors.Is(err, ErrConflict) || Unknown(err) {
			return answer, err
		}
		over := n+1 >= b.Attempts || b.over(start)
		if !over {
			if err := b.Wait(ctx, n, 0); err != nil {
				return answer, err
			}
			over = b.over(start) // the wait took a while
		}
		if over {
			return answer, &Error{Code: RetriesExhausted, Msg: fmt.Sprintf("conflict on each of %d attempts", n+1), Err: err}
		}
	}
}

// over tells whether no attempt may begin any more.
func (b Backoff) over(start time.Time) bool { return b.Deadline > 0 && time.Since(start) >= b.Deadline }
