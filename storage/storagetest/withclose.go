package storagetest

import (
	"context"

	"github.com/plinthkv/plinth/storage"
)

// WithClose returns b with another Close: for a pipeline, whose outermost stage does not
// own what is below it, a function that closes all of it. It may be called several times.
func WithClose(b storage.Backend, close func(context.Context) error) storage.Backend {
	return &withClose{b, close}
}

type withClose struct {
	next  storage.Backend
	close func(context.Context) error
}

func (w *withClose) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return w.next.Get(ctx, key)
}

func (w *withClose) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	return w.next.GetMany(ctx, keys)
}

func (w *withClose) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return w.next.Scan(ctx, q)
}

func (w *withClose) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return w.next.Changes(ctx, q)
}

func (w *withClose) Apply(ctx context.Context, s *storage.WriteSet) (uint64, error) {
	return w.next.Apply(ctx, s)
}

func (w *withClose) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return w.next.Health(ctx, p)
}

func (w *withClose) Info() storage.Info { return w.next.Info() }

func (w *withClose) Close(ctx context.Context) error { return w.close(ctx) }
