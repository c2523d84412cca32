package readonly

import (
	"context"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config has no settings.
type Config struct{}

// Factory returns the factory of read_only stages.
func Factory() wrappers.Factory {
	return wrappers.NewFactory("read_only", wrappers.Declaration{Preserves: "every guarantee of reads"},
		func() Config { return Config{} },
		func(next storage.Backend, _ Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, s), nil
		})
}

// Backend passes reads on. It is safe for concurrent use.
type Backend struct {
	next    storage.Backend
	refusal error
}

// New wraps next.
func New(next storage.Backend, s wrappers.Settings) *Backend {
	return &Backend{next, &storage.Error{Code: storage.PermissionDenied, Op: "apply", Layer: s.Stage, Msg: "the store is read only"}}
}

// Get calls the next backend.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return b.next.Get(ctx, key)
}

// GetMany calls the next backend.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	return b.next.GetMany(ctx, keys)
}

// Scan calls the next backend.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return b.next.Scan(ctx, q)
}

// Apply returns PermissionDenied for all that writes.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if len(w.Ops) > 0 {
		return 0, b.refusal
	}
	return b.next.Apply(ctx, w)
}

// Changes calls the next backend.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return b.next.Changes(ctx, q)
}

// Health calls the next backend.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return b.next.Health(ctx, p)
}

// Info returns the next backend's info.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close has nothing to close.
func (b *Backend) Close(context.Context) error { return nil }

var _ storage.Backend = (*Backend)(nil)
