package client_test

import (
	"context"
	"sync/atomic"

	"github.com/plinthkv/plinth/storage"
)

// atomicBackend is another backend from one moment to the next.
type atomicBackend struct{ now atomic.Pointer[changing] }

func (a *atomicBackend) set(b *changing) { a.now.Store(b) }

func (a *atomicBackend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return a.now.Load().Get(ctx, key)
}

func (a *atomicBackend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	return a.now.Load().GetMany(ctx, keys)
}

func (a *atomicBackend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return a.now.Load().Scan(ctx, q)
}

func (a *atomicBackend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return a.now.Load().Changes(ctx, q)
}

func (a *atomicBackend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	return a.now.Load().Apply(ctx, w)
}

func (a *atomicBackend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return a.now.Load().Health(ctx, p)
}

func (a *atomicBackend) Info() storage.Info { return a.now.Load().Info() }

func (a *atomicBackend) Close(ctx context.Context) error { return a.now.Load().Close(ctx) }

// entering reports each call that has arrived.
type entering struct {
	next    storage.Backend
	entered chan struct{}
}

func (e *entering) Get(ctx context.Context, key []byte) (storage.Item, error) {
	e.entered <- struct{}{}
	return e.next.Get(ctx, key)
}

func (e *entering) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	e.entered <- struct{}{}
	return e.next.GetMany(ctx, keys)
}

func (e *entering) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	e.entered <- struct{}{}
	return e.next.Scan(ctx, q)
}

func (e *entering) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	e.entered <- struct{}{}
	return e.next.Changes(ctx, q)
}

func (e *entering) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	e.entered <- struct{}{}
	return e.next.Apply(ctx, w)
}

func (e *entering) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	e.entered <- struct{}{}
	return e.next.Health(ctx, p)
}

func (e *entering) Info() storage.Info { return e.next.Info() }

func (e *entering) Close(ctx context.Context) error { return e.next.Close(ctx) }
