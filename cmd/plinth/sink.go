package main

import (
	"context"
	"errors"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// What goes into one write set, at most, and how long the server may take for it.
const (
	setOps   = 1000
	setBytes = 1 << 20
	setTime  = time.Minute
)

// sink stores items in a served store, in write sets.
type sink struct {
	to served
	// settled is called with ops that were stored, and with those that were not; its error
	// ends the work.
	settled func(ops []storage.Op, err error) error
}

// writer gathers ops into write sets that a store with this info takes. A signal does not end
// a write halfway: it is looked at before the next.
func (s sink) writer(ctx context.Context, info storage.Info) *storage.BatchWriter {
	o := storage.BatchOptions{MaxOps: setOps, MaxBytes: setBytes}
	if !info.Caps.Has(storage.CapAtomic) {
		o.MaxOps = 1
	}
	return storage.NewBatchWriter(func(_ context.Context, set *storage.WriteSet) (uint64, error) {
		return 0, s.store(ctx, set.Ops)
	}, info.Limits, o)
}

// store applies ops, in halves where all of them are too large for the server.
func (s sink) store(ctx context.Context, ops []storage.Op) error {
	err := s.load(ctx, ops)
	if half := len(ops) / 2; half > 0 && errors.Is(err, storage.ErrSizeLimit) {
		if err := s.store(ctx, ops[:half]); err != nil {
			return err
		}
		return s.store(ctx, ops[half:])
	}
	return s.settled(ops, err)
}

// load waits as long as a rate limit says: it slows the work down, and does not end it.
func (s sink) load(ctx context.Context, ops []storage.Op) error {
	for {
		if err := s.once(ctx, ops); !waited(ctx, err) {
			return err
		}
	}
}

// waited waits as long as a rate limit says. It reports false for any other error, and where
// ctx ends first.
func waited(ctx context.Context, err error) bool {
	e := storage.AsError(err)
	if e == nil || e.Code != storage.RateLimited || e.RetryAfter <= 0 {
		return false
	}
	select {
	case <-time.After(e.RetryAfter):
		return true
	case <-ctx.Done():
		return false
	}
}

func (s sink) once(ctx context.Context, ops []storage.Op) error {
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), setTime)
	defer end()
	return s.to.load(ctx, ops)
}

// cause returns the error of a batch writer as it was said, without the numbers of its ops.
func cause(err error) error {
	var failed *storage.BatchError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}
