package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/internal/backoff"
)

// Backoff configures retries. Before retry n (from 0) it waits for a random time in [0,
// min(Cap, Base·2ⁿ)), known as full jitter, so that callers who failed together do not
// return together. If a field is zero, its default applies.
type Backoff struct {
	Attempts int           // in all, including the first; by default 16
	Base     time.Duration // by default 2 ms
	Cap      time.Duration // by default 250 ms
	// Deadline bounds the time from the first attempt to the start of the last one. If
	// zero, only the context does.
	Deadline time.Duration
}

// Read only.
var defaultBackoff = Backoff{Attempts: 16, Base: 2 * time.Millisecond, Cap: 250 * time.Millisecond}

// DefaultBackoff has the defaults of the zero fields of a Backoff.
func DefaultBackoff() Backoff { return defaultBackoff }

// ClassicBackoff retries a compare-and-set as inferadb-common-storage does: five times,
// after waits of up to 100 ms each.
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

// Wait waits before retry n (from 0), and at least as long as atLeast, such as
// the RetryAfter of an [Error]. If ctx ends first, it returns the error of
// ctx.
func (b Backoff) Wait(ctx context.Context, n int, atLeast time.Duration) error {
	b = b.orDefault()
	d := backoff.Doubling{First: b.Base, Most: b.Cap}.Full(n)
	if !backoff.Wait(ctx, max(d, atLeast), nil) {
		return ContextError(ctx)
	}
	return nil
}

// RetryOnConflict calls try, a whole read, modify and write, until it ends in anything
// but Conflict, and returns its result. It returns RetriesExhausted when attempts or
// deadline are used up. Any other error ends it at once, even an unknown outcome: only
// the caller can know whether try may run twice.
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

// over reports whether no attempt may begin any more.
func (b Backoff) over(start time.Time) bool { return b.Deadline > 0 && time.Since(start) >= b.Deadline }
