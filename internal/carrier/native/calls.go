package native

import (
	"context"
	"errors"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// enter returns the instance that takes the call, which is to leave it.
func (b *Backend) enter(ctx context.Context) (*instance, error) {
	for {
		in := b.now.Load()
		if in == nil {
			var err error
			if in, err = b.reach(ctx); err != nil {
				return nil, err
			}
		}
		if in.calls.Enter() {
			return in, nil
		}
		if b.closed.Load() {
			return nil, b.unavailable()
		}
	}
}

// reach returns the instance that takes calls, which is opened anew where it was lost and may
// be by now.
func (b *Backend) reach(ctx context.Context) (*instance, error) {
	if b.closed.Load() {
		return nil, b.unavailable()
	}
	if err := b.life.WaitDue(ctx); err != nil {
		return nil, b.Wrap(err)
	}
	select {
	case b.opening <- struct{}{}:
		defer func() { <-b.opening }()
	case <-ctx.Done():
		return nil, b.Wrap(storage.ContextError(ctx))
	}
	if in := b.now.Load(); in != nil {
		return in, nil
	}
	if b.closed.Load() || !b.life.Due() {
		return nil, b.unavailable()
	}
	in, err := b.again(ctx)
	switch {
	case err != nil && ctx.Err() != nil: // the next caller goes on
		return nil, b.Wrap(storage.ContextError(ctx))
	case err != nil:
		b.life.Lost(err, "", true)
		return nil, b.unavailable()
	}
	b.serves(in)
	return in, nil
}

// again opens an instance in the place of one that was lost, once that was closed.
func (b *Backend) again(ctx context.Context) (*instance, error) {
	if left := b.left.Load(); left != nil {
		timer := time.NewTimer(closeTime)
		defer timer.Stop()
		select {
		case <-*left:
		case <-ctx.Done():
			return nil, storage.ContextError(ctx)
		case <-timer.C: // its lock is held by a call that has panicked
			return nil, storage.Errorf(storage.Unavailable, "the lost instance does not close")
		}
	}
	in, err := b.open(context.Background())
	if err != nil {
		return nil, err
	}
	if err := carrier.Admits(b.Known().Caps, in.Info().Caps); err != nil {
		return nil, errors.Join(err, in.shut(context.Background()))
	}
	return in, nil
}

// unavailable returns why there is no instance.
func (b *Backend) unavailable() error {
	e := b.life.Error()
	switch {
	case b.closed.Load():
		e = &storage.Error{Code: storage.ShuttingDown}
	case e == nil:
		e = storage.Errorf(storage.Unavailable, "the plugin has just failed")
	}
	return b.Wrap(e)
}

// call has an instance answer, in a span of its own where the caller's is recorded. A
// panic is the call's error, and the instance's end.
func call[T any](ctx context.Context, b *Backend, op abi.Op, ask func(context.Context, *instance) (T, error)) (answer T, err error) {
	ctx, span := b.spans.Begin(ctx, op)
	defer func() { span.End(err) }()
	in, err := b.enter(ctx)
	if err != nil {
		return answer, err
	}
	defer in.calls.Leave()
	if b.counts != nil {
		b.counts.Add(1)
	}
	answer, err = guarded(ctx, in, ask)
	if err == nil {
		return answer, nil
	}
	var p *panicError
	if errors.As(err, &p) {
		b.lost(in, err)
		e := storage.Errorf(storage.Unavailable, "%w", p.error)
		if op == abi.OpApply {
			e.Code, e.Unknown = storage.OutcomeUnknown, true
		}
		err = e
	}
	return answer, b.Wrap(err)
}

// guarded calls ask, and returns its panic as an error.
func guarded[T any](ctx context.Context, in *instance, ask func(context.Context, *instance) (T, error)) (answer T, err error) {
	defer caught(&err)
	return ask(ctx, in)
}

// Get asks the backend.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if b.Known().Limits.TooLong(key) { // and so absent, at whatever length
		return storage.Item{}, storage.ErrNotFound
	}
	return call(ctx, b, abi.OpGet, func(ctx context.Context, in *instance) (storage.Item, error) { return in.Get(ctx, key) })
}

// GetMany asks the backend.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	limits := &b.Known().Limits
	if err := limits.CheckGetKeys(len(keys)); err != nil {
		return nil, b.Wrap(err)
	}
	keys = limits.Possible(keys)
	return call(ctx, b, abi.OpGetMany, func(ctx context.Context, in *instance) ([]storage.Item, error) { return in.GetMany(ctx, keys) })
}

// Scan asks the backend.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Validate(); err != nil {
		return storage.Page{}, b.Wrap(err)
	}
	cut := q.Cut(b.Known().Limits)
	page, err := call(ctx, b, abi.OpScan, func(ctx context.Context, in *instance) (storage.Page, error) { return in.Scan(ctx, cut) })
	if err != nil {
		return storage.Page{}, err
	}
	q.Resume(&page)
	return page, nil
}

// Changes asks the backend. An instance that is closed or lost does not wait.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	if err := q.Validate(); err != nil {
		return storage.ChangePage{}, b.Wrap(err)
	}
	cut := q.Cut(b.Known().Limits)
	page, err := call(ctx, b, abi.OpChanges, func(ctx context.Context, in *instance) (storage.ChangePage, error) {
		own, done := in.calls.Within(ctx)
		defer done()
		page, err := in.Changes(own, cut)
		if err != nil && own.Err() != nil && ctx.Err() == nil {
			err = &storage.Error{Code: storage.ShuttingDown}
		}
		return page, err
	})
	if err == nil {
		q.Resume(&page)
	}
	return page, err
}

// Apply asks the backend, after what can be checked before has been.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	info := b.Known()
	if err := w.Validate(info); err != nil {
		return 0, b.Wrap(err)
	}
	w = w.Cut(info.Limits)
	return call(ctx, b, abi.OpApply, func(ctx context.Context, in *instance) (uint64, error) { return in.Apply(ctx, w) })
}

// Health says how the backend is, and, but for liveness, asks it.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return carrier.Health(ctx, b, p, func(ctx context.Context) (storage.Health, error) {
		return call(ctx, b, abi.OpHealth, func(ctx context.Context, in *instance) (storage.Health, error) { return in.Health(ctx, p) })
	})
}

// Info returns what the backend said when it was opened.
func (b *Backend) Info() storage.Info { return *b.Known() }

// Status returns how the backend is.
func (b *Backend) Status() supervise.Status { return b.life.Status() }

// Closed reports whether Close was called.
func (b *Backend) Closed() bool { return b.closed.Load() }

// Usable reports whether there is an instance, or may be one by now.
func (b *Backend) Usable() bool { return b.now.Load() != nil || b.life.Due() }

// Working returns a function that returns false: other calls are not observed here.
func (b *Backend) Working() func() bool { return func() bool { return false } }

// Wrong returns "": an instance is never degraded on its own.
func (b *Backend) Wrong() string { return "" }

// SetDegraded notes what a probe found.
func (b *Backend) SetDegraded(wrong string) { b.life.SetDegraded(wrong) }

// Close lets the calls in flight finish and closes the instance. It is idempotent. A ctx
// that ends first leaves calls in flight behind.
func (b *Backend) Close(ctx context.Context) error {
	b.closed.Store(true)
	select {
	case b.opening <- struct{}{}:
		defer func() { <-b.opening }()
	case <-ctx.Done():
		return b.Wrap(storage.ContextError(ctx))
	}
	var errs []error
	if b.stop != nil {
		errs = append(errs, b.stop())
		b.stop = nil
	}
	if in := b.now.Load(); in != nil {
		in.calls.Shut()
		b.now.Store(nil)
		if err := in.calls.Wait(ctx); err != nil {
			b.now.Store(in) // it is left undone
			return errors.Join(append(errs, b.Wrap(err))...)
		}
		if err := in.shut(ctx); err != nil {
			errs = append(errs, b.Wrap(err))
		}
	}
	b.life.Stop()
	b.folder.Release()
	return errors.Join(errs...)
}
