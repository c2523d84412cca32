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

// New puts the wrapper over next.
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
// The error is that of the last attempt.
func repeat[A any](ctx context.Context, b *Backend, again func(*storage.Error) bool, call func() (A, error)) (A, error) {
	answer, err := call()
	if err == nil {
		return answer, nil // nearly always
	}
	start := time.Now()
	n := 0
	for ; err != nil && again(storage.AsError(err)); n++ {
		if n+1 >= b.config.Attempts || !b.leaves(ctx, start, storage.AsError(err).RetryAfter) ||
			b.backoff.Wait(ctx, n, storage.AsError(err).RetryAfter) != nil {
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

// leaves tells whether there is time for another attempt after a wait.
func (b *Backend) leaves(ctx context.Context, start time.Time, wait time.Duration) bool {
	now := time.Now()
	if end, ok := ctx.Deadline(); ok && end.Sub(now) <= wait {
		return false
	}
	return ctx.Err() == nil && (b.config.Deadline == 0 || wait < b.config.Deadline-now.Sub(start))
}

// passing tells whether the reason of a read's failure may pass.
func passing(e *storage.Error) bool {
	return e.Retryable() || e.Code == storage.OutcomeUnknown
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
	start, unknown := time.Now(), false
	version, err := repeat(ctx, b, func(e *storage.Error) bool {
		unknown = unknown || e.Unknown
		if !unknown {
			return e.Retryable()
		}
		// What has lost its state does not remember IDs either.
		return (e.Unknown || e.Retryable()) && time.Since(start) < window && b.next.Info().Incarnation == info.Incarnation
	}, func() (uint64, error) { return b.next.Apply(ctx, w) })
	if unknown && err != nil && !storage.AsError(err).Unknown {
		// The last error is no cause, only text: whoever looks for a Conflict must not find one.
		err = &storage.Error{Code: storage.OutcomeUnknown, Op: "apply", Layer: b.layer, Unknown: true,
			Msg: "an earlier attempt may have been applied; the last one failed: " + err.Error()}
	}
	return version, err
}

// writesPerSecond is how many writes with an ID a backend is thought to do, at
// most, which says how long one of so many that it remembers is safe with it.
const writesPerSecond = 50_000

// window is how long a write of unknown outcome may be repeated; 0: not at all.
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

// newID is random, from the runtime's own generator, which is seeded for each
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

// Info is the next's.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close has nothing to close.
func (b *Backend) Close(context.Context) error { return nil }

var _ storage.Backend = (*Backend)(nil)
