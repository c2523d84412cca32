package retry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Backend makes calls again. It is safe for concurrent use.
type Backend struct {
	next    storage.Backend
	config  Config
	backoff storage.Backoff
	layer   string
	retries wrappers.Counter // attempts beyond the first
	failed  wrappers.Counter // calls that failed for all attempts
}

// New wraps next.
func New(next storage.Backend, c Config, s wrappers.Settings) (*Backend, error) {
	b := &Backend{next: next, config: c, layer: s.Stage, backoff: storage.Backoff{Attempts: c.Attempts, Base: c.BaseDelay, Cap: c.MaxDelay}}
	var err error
	if b.retries, err = s.Counter("plinth.retry.attempts", "{attempt}", "Attempts after the first one of a call."); err != nil {
		return nil, err
	}
	b.failed, err = s.Counter("plinth.retry.exhausted", "{call}", "Calls that failed although they were tried again.",
		attribute.String("plinth.outcome", "failed"))
	return b, err
}

// repeat makes a call until it succeeds, fails for good, or no attempt is left.
// The error is that of the last attempt. again reports whether another attempt may
// begin after an error, and until when; the zero time means at any time.
func repeat[A any](ctx context.Context, b *Backend, again func(*storage.Error) (until time.Time, ok bool), call func() (A, error)) (A, error) {
	answer, err := call()
	if err == nil {
		return answer, nil // nearly always
	}
	var deadline time.Time
	if b.config.Deadline > 0 {
		deadline = time.Now().Add(b.config.Deadline)
	}
	n := 0
	for ; err != nil; n++ {
		e := storage.AsError(err)
		until, ok := again(e)
		if !ok || n+1 >= b.config.Attempts || !b.wait(ctx, n, e.RetryAfter, earlier(deadline, until)) {
			break
		}
		if _, ok := again(e); !ok { // it took a while
			break
		}
		b.retries.Add(1)
		answer, err = call()
	}
	if n > 0 && err != nil {
		b.failed.Add(1)
	}
	return answer, err
}

// wait waits before another attempt, and reports whether there is time for it.
func (b *Backend) wait(ctx context.Context, n int, atLeast time.Duration, until time.Time) bool {
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= atLeast {
		return false
	}
	return b.backoff.Wait(ctx, n, atLeast) == nil && ctx.Err() == nil
}

// earlier returns the earlier of two times; a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// passing reports whether the reason of a read's failure may pass.
func passing(e *storage.Error) (until time.Time, ok bool) {
	return time.Time{}, e.Retryable() || e.Code == storage.OutcomeUnknown
}

// Get asks the next, again where that may help.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	it, err := b.next.Get(ctx, key)
	if err == nil || storage.CodeOf(err) == storage.NotFound {
		return it, err // without a closure
	}
	first := true
	return repeat(ctx, b, passing, func() (storage.Item, error) {
		if first {
			first = false
			return it, err
		}
		return b.next.Get(ctx, key)
	})
}

// GetMany asks the next, again where that may help.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	return repeat(ctx, b, passing, func() ([]storage.Item, error) { return b.next.GetMany(ctx, keys) })
}

// Scan asks the next for a page, again where that may help.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return repeat(ctx, b, passing, func() (storage.Page, error) { return b.next.Scan(ctx, q) })
}

// Changes asks the next for a page, again where that may help. What is left of the query's
// wait is waited then.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	end := time.Now().Add(q.Wait)
	return repeat(ctx, b, passing, func() (storage.ChangePage, error) {
		page, err := b.next.Changes(ctx, q)
		q.Wait = min(q.Wait, max(0, time.Until(end)))
		return page, err
	})
}

// Apply asks the next, again where nothing was written, or where a repeat is
// certain to be recognised as one. Once the outcome of an attempt is unknown, it
// stays so until another one succeeds: the first may still be on its way.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	info := b.next.Info()
	window := b.window(&info)
	if window > 0 && w.ID == [16]byte{} {
		own := *w
		own.ID = newID()
		w = &own
	}
	remembered, unknown := time.Now().Add(window), false
	version, err := repeat(ctx, b, func(e *storage.Error) (until time.Time, ok bool) {
		unknown = unknown || e.Unknown
		if !unknown {
			return time.Time{}, e.Retryable()
		}
		// What has lost its state does not remember IDs either.
		return remembered, (e.Unknown || e.Retryable()) && time.Now().Before(remembered) && b.next.Info().Incarnation == info.Incarnation
	}, func() (uint64, error) { return b.next.Apply(ctx, w) })
	if unknown && err != nil && !storage.Unknown(err) {
		// The last error is no cause, only text: whoever looks for a Conflict must not find one.
		err = &storage.Error{Code: storage.OutcomeUnknown, Op: "apply", Layer: b.layer, Unknown: true,
			Msg: "an earlier attempt may have been applied; the last one failed: " + err.Error()}
	}
	return version, err
}

// writesPerSecond is how many writes with an ID a backend is thought to do, at
// most, which says how long one of so many that it remembers is safe with it.
const writesPerSecond = 50_000

// window returns how long a write of unknown outcome may be repeated, or 0 if not at all.
func (b *Backend) window(info *storage.Info) time.Duration {
	if !b.config.identifies(*info) {
		return 0
	}
	w := b.config.Unknown
	if known := info.Limits.IDWindow; known > 0 {
		w = min(w, known/2) // the attempt itself takes time too
	}
	if n := info.Limits.IDCount; n > 0 {
		w = min(w, time.Duration(n)*time.Second/writesPerSecond)
	}
	return w
}

// newID returns a random ID, from the runtime's own generator, which is seeded for each
// process and not to be guessed from outside.
func newID() (id [16]byte) {
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

// Health asks the next once: whoever probes, probes again.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return b.next.Health(ctx, p)
}

// Info returns the next backend's info.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close has nothing to close.
func (b *Backend) Close(context.Context) error { return nil }

var _ storage.Backend = (*Backend)(nil)
