package timeout

import (
	"context"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Backend gives calls a deadline. It is safe for concurrent use.
type Backend struct {
	next   storage.Backend
	config Config
	layer  string
	cut    wrappers.Counter
}

// New wraps next.
func New(next storage.Backend, c Config, s wrappers.Settings) (*Backend, error) {
	for _, d := range []*time.Duration{&c.Get, &c.GetMany, &c.Scan, &c.Changes, &c.Apply, &c.Health} {
		if *d == 0 {
			*d = c.Timeout
		}
	}
	cut, err := s.Counter("plinth.timeout.expired", "{call}", "Calls that were cut off by their deadline.")
	return &Backend{next, c, s.Stage, cut}, err
}

// within makes a call under a deadline.
func within[A any](ctx context.Context, b *Backend, limit time.Duration, op string, call func(context.Context) (A, error)) (A, error) {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= limit {
		return call(ctx)
	}
	own, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := call(own)
	if err != nil && own.Err() != nil && ctx.Err() == nil {
		err = b.expired(err, op, limit)
	}
	return answer, err
}

// expired says of an error that the deadline of this stage has made whose it is.
func (b *Backend) expired(err error, op string, limit time.Duration) error {
	e := *storage.AsError(err)
	if e.Code != storage.Timeout && e.Code != storage.Canceled && e.Code != storage.OutcomeUnknown {
		return err
	}
	b.cut.Add(1)
	e.Layer, e.Op, e.Err = b.layer, op, err
	if e.Code != storage.OutcomeUnknown {
		e.Code = storage.Timeout
		e.Msg = fmt.Sprintf("no answer within %s", limit)
	}
	return &e
}

// Get calls the next backend.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return within(ctx, b, b.config.Get, "get", func(ctx context.Context) (storage.Item, error) { return b.next.Get(ctx, key) })
}

// GetMany calls the next backend.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	return within(ctx, b, b.config.GetMany, "get_many", func(ctx context.Context) ([]storage.Item, error) { return b.next.GetMany(ctx, keys) })
}

// Scan asks the next for one page.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return within(ctx, b, b.config.Scan, "scan", func(ctx context.Context) (storage.Page, error) { return b.next.Scan(ctx, q) })
}

// Changes asks the next for one page. Its deadline begins after the query's wait.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	limit := b.config.Changes + min(max(q.Wait, 0), storage.MostWait)
	return within(ctx, b, limit, "changes", func(ctx context.Context) (storage.ChangePage, error) { return b.next.Changes(ctx, q) })
}

// Apply asks the next. Where that could not say what came of it, the outcome is
// unknown.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	return within(ctx, b, b.config.Apply, "apply", func(ctx context.Context) (uint64, error) { return b.next.Apply(ctx, w) })
}

// Health calls the next backend.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return within(ctx, b, b.config.Health, "health", func(ctx context.Context) (storage.Health, error) { return b.next.Health(ctx, p) })
}

// Info returns the next backend's info.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close has nothing to close.
func (b *Backend) Close(context.Context) error { return nil }

var _ storage.Backend = (*Backend)(nil)
