package storage

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// BatchOptions configure a [BatchWriter]. If a field is zero, its default
// applies.
type BatchOptions struct {
	MaxOps   int           // ops of one write set; by default 1,000
	MaxBytes int           // keys and values of one write set; by default 8 MiB
	MaxAge   time.Duration // how long an op waits at most for others; by default until Flush
	// Continue keeps the writer going after a failed write set: its ops are dropped once
	// Outcome was called, and the next Flush or Close returns the first such error. By
	// default the writer stops and keeps them.
	Continue bool
	// Outcome, if set, is called with the result of each settled op, once and in order; n
	// counts the added ops from 0. It must not call the writer.
	Outcome func(n int64, err error)
}

// BatchStats count the work of a [BatchWriter].
type BatchStats struct {
	Added, Applied, Failed, Pending int64         // ops; the last three make up the first, but for those discarded
	Batches                         int64         // write sets that were sent, including failed ones
	Bytes                           int64         // of applied keys and values
	Took                            time.Duration // time spent sending
}

// BatchError reports the failure of the write set that stopped a batch writer.
type BatchError struct {
	First, Last int64 // the ops of that write set, counted from 0
	Err         error
}

// Error returns the ops and the cause.
func (e *BatchError) Error() string { return fmt.Sprintf("ops %d to %d: %v", e.First, e.Last, e.Err) }

// Unwrap returns the cause.
func (e *BatchError) Unwrap() error { return e.Err }

// BatchWriter gathers puts and deletes for bulk loads and applies them as large write
// sets, in the order in which they were added. Each write set is all or nothing; all of
// them together are not. If one fails, the writer stops: it keeps the ops of that write
// set and later ones, Add and Flush return the error, and [BatchWriter.Retry] continues
// with them, or [BatchWriter.Discard] drops them. It is safe for concurrent use; calls
// wait while a write set is sent.
type BatchWriter struct {
	apply   func(context.Context, *WriteSet) (uint64, error)
	o       BatchOptions
	limits  Limits
	turn    chan struct{} // held by whoever works on what follows
	ops     []Op
	bytes   int
	first   int64 // the number of ops[0]
	stopped error
	untold  error // with Continue: the first failure since the last Flush
	closed  bool
	timer   *time.Timer
	stats   BatchStats
}

// NewBatchWriter returns a batch writer over the backend of s, within its limits.
func (s *Store) NewBatchWriter(o BatchOptions) *BatchWriter {
	info := s.b.Info()
	w := NewBatchWriter(s.b.Apply, info.Limits, o)
	if !info.Caps.Has(CapAtomic) {
		w.o.MaxOps = 1
	}
	return w
}

// NewBatchWriter returns a batch writer over anything that applies write sets, within
// limits.
func NewBatchWriter(apply func(context.Context, *WriteSet) (uint64, error), l Limits, o BatchOptions) *BatchWriter {
	if o.MaxOps <= 0 {
		o.MaxOps = 1000
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 8 << 20
	}
	if l.Ops > 0 {
		o.MaxOps = min(o.MaxOps, l.Ops)
	}
	if l.WriteBytes > 0 {
		o.MaxBytes = min(o.MaxBytes, l.WriteBytes)
	}
	return &BatchWriter{apply: apply, o: o, limits: l, turn: make(chan struct{}, 1)}
}

// lock waits for the writer, or for the end of ctx.
func (w *BatchWriter) lock(ctx context.Context) error {
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ContextError(ctx)
	}
}

func (w *BatchWriter) unlock() { <-w.turn }

// Add adds a copy of an op, and sends full write sets. It refuses an op beyond a limit
// without adding it or stopping. Any other error means that the writer has stopped, and
// that the op was not added either.
func (w *BatchWriter) Add(ctx context.Context, op Op) error {
	one := WriteSet{Ops: []Op{op}}
	if err := one.CheckSizes(w.limits); err != nil {
		return err
	}
	if err := w.lock(ctx); err != nil {
		return err
	}
	defer w.unlock()
	switch {
	case w.closed:
		return &Error{Code: ShuttingDown, Msg: "the batch writer is closed"}
	case w.stopped != nil:
		return w.stopped
	}
	size := len(op.Key) + len(op.End) + len(op.Value)
	// It is full already where a caller had left before it could be sent.
	if len(w.ops) > 0 && (len(w.ops) >= w.o.MaxOps || w.bytes+size > w.o.MaxBytes) {
		if err := w.send(ctx); err != nil && len(w.ops) > 0 {
			return err
		}
	}
	op.Key, op.End, op.Value = bytes.Clone(op.Key), bytes.Clone(op.End), bytes.Clone(op.Value)
	w.ops = append(w.ops, op)
	w.bytes += size
	w.stats.Added++
	if len(w.ops) >= w.o.MaxOps || w.bytes >= w.o.MaxBytes {
		// The op is in: the next call returns an error of the write set.
		_ = w.send(ctx)
	}
	if w.o.MaxAge > 0 && w.timer == nil && len(w.ops) > 0 {
		w.timer = time.AfterFunc(w.o.MaxAge, w.tick)
	}
	return nil
}

// Put adds a put of value without an expiry.
func (w *BatchWriter) Put(ctx context.Context, key, value []byte) error {
	return w.Add(ctx, Put(key, value))
}

// Delete adds a delete of key.
func (w *BatchWriter) Delete(ctx context.Context, key []byte) error { return w.Add(ctx, Delete(key)) }

// Flush sends all pending ops. Its error is a [BatchError]. If ctx ends it, unsent ops
// stay pending, and a later Flush continues with them.
func (w *BatchWriter) Flush(ctx context.Context) error { return w.flush(ctx, false) }

// Retry restarts a writer that has stopped: it flushes, and sends the failed write set
// again. If the outcome of that is unknown, it may be applied twice. The same ops in the
// same order make that harmless only if there are no other writers.
func (w *BatchWriter) Retry(ctx context.Context) error { return w.flush(ctx, true) }

func (w *BatchWriter) flush(ctx context.Context, again bool) error {
	if err := w.lock(ctx); err != nil {
		return err
	}
	defer w.unlock()
	stopped := w.stopped
	if stopped != nil && !again {
		return stopped
	}
	w.stopped = nil
	err := w.sendAll(ctx)
	if err != nil && w.stopped == nil && len(w.ops) > 0 { // the caller has left
		w.stopped = stopped
	}
	return err
}

// sendAll sends for Flush and Close. It first returns a failure that no call has returned.
func (w *BatchWriter) sendAll(ctx context.Context) error {
	err := w.send(ctx)
	if w.untold != nil {
		err, w.untold = w.untold, nil
	}
	return err
}

// tick sends what has waited long enough.
func (w *BatchWriter) tick() {
	_ = w.lock(context.Background())
	defer w.unlock()
	w.timer = nil
	if w.stopped == nil && !w.closed {
		_ = w.send(context.Background()) // the next call reports an error
	}
}

// send applies all that waits as one write set. What fails stops the writer,
// but for an end of ctx before anything was done.
func (w *BatchWriter) send(ctx context.Context) error {
	if len(w.ops) == 0 {
		return nil
	}
	if err := ContextError(ctx); err != nil {
		return err
	}
	start := time.Now()
	_, err := w.apply(ctx, &WriteSet{Ops: w.ops})
	w.stats.Took += time.Since(start)
	w.stats.Batches++
	n := int64(len(w.ops))
	if err != nil {
		failed := &BatchError{First: w.first, Last: w.first + n - 1, Err: err}
		if left(ctx, AsError(err)) {
			return failed // the next call goes on with it
		}
		if !w.o.Continue {
			w.stopped = failed
			return failed
		}
		w.stats.Failed += n
		if w.untold == nil {
			w.untold = failed
		}
		w.settle(err)
		return failed
	}
	w.stats.Applied += n
	w.stats.Bytes += int64(w.bytes)
	w.settle(nil)
	return nil
}

// left reports whether a call failed only because its caller left, before anything
// was done.
func left(ctx context.Context, e *Error) bool {
	return ctx.Err() != nil && !e.Unknown && (e.Code == Canceled || e.Code == Timeout)
}

// settle reports the outcome of all that was sent and forgets it.
func (w *BatchWriter) settle(err error) {
	if w.o.Outcome != nil {
		for i := range w.ops {
			w.o.Outcome(w.first+int64(i), err)
		}
	}
	w.forget()
}

func (w *BatchWriter) forget() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	w.first += int64(len(w.ops))
	w.ops, w.bytes = nil, 0 // not reused: what applied them may have kept them
}

// Pending returns the ops that were added and are not settled, in order. The writer owns
// them.
func (w *BatchWriter) Pending() []Op {
	_ = w.lock(context.Background())
	defer w.unlock()
	return w.ops[:len(w.ops):len(w.ops)]
}

// Discard drops the pending ops, without an outcome, and lets the writer continue.
func (w *BatchWriter) Discard() {
	_ = w.lock(context.Background())
	defer w.unlock()
	w.forget()
	w.stopped = nil
}

// Stats returns what was done so far.
func (w *BatchWriter) Stats() BatchStats {
	_ = w.lock(context.Background())
	defer w.unlock()
	s := w.stats
	s.Pending = int64(len(w.ops))
	return s
}

// Close flushes, unless the writer has stopped, and accepts no more ops. Ops that it
// could not send stay Pending. The backend stays open.
func (w *BatchWriter) Close(ctx context.Context) error {
	if err := w.lock(ctx); err != nil {
		return err
	}
	defer w.unlock()
	w.closed = true
	if w.stopped != nil {
		return w.stopped
	}
	return w.sendAll(ctx)
}
