package sizelimits

import (
	"context"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Backend refuses what is too large. It is safe for concurrent use.
type Backend struct {
	next   storage.Backend
	limits storage.Limits
	rows   int
	layer  string
}

// New puts the limits of c over next.
func New(next storage.Backend, c Config, s wrappers.Settings) (*Backend, error) {
	if err := c.within(next.Info().Limits); err != nil {
		return nil, err
	}
	return &Backend{next: next, rows: c.Rows, layer: s.Stage,
		limits: storage.Limits{Key: c.Key, Value: c.Value, Ops: c.Ops, WriteBytes: c.WriteBytes}}, nil
}

// Get refuses a key that is too long.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if err := b.limits.CheckKey(key); err != nil {
		return storage.Item{}, b.refused("get", err)
	}
	return b.next.Get(ctx, key)
}

// GetMany refuses keys that are too long.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	for _, key := range keys {
		if err := b.limits.CheckKey(key); err != nil {
			return nil, b.refused("get_many", err)
		}
	}
	return b.next.GetMany(ctx, keys)
}

// Scan keeps the page at the limit; bounds may be of any length.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if b.rows > 0 && (q.Limit == 0 || q.Limit > b.rows) {
		q.Limit = b.rows
	}
	return b.next.Scan(ctx, q)
}

// Changes keeps the page at the limit of rows, but for a write set that is larger.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	if b.rows > 0 && (q.Limit == 0 || q.Limit > b.rows) {
		q.Limit = b.rows
	}
	return b.next.Changes(ctx, q)
}

// Apply refuses a write set that is too large in any way.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if err := w.CheckSizes(b.limits); err != nil {
		return 0, b.refused("apply", err)
	}
	return b.next.Apply(ctx, w)
}

// Health calls the next backend.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return b.next.Health(ctx, p)
}

// Info returns the next's, with the stricter limits.
func (b *Backend) Info() storage.Info {
	info := b.next.Info()
	info.Limits = info.Limits.Tighten(b.limits)
	return info
}

// Close has nothing to close.
func (b *Backend) Close(context.Context) error { return nil }

func (b *Backend) refused(op string, err error) error {
	e := *storage.AsError(err)
	e.Layer, e.Op = b.layer, op
	return &e
}

var _ storage.Backend = (*Backend)(nil)
