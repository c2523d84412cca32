package batch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Backend merges writes. It is safe for concurrent use.
type Backend struct {
	next   storage.Backend
	config Config
	layer  string
	tracer trace.Tracer // nil means no spans
	log    *slog.Logger

	mu      sync.Mutex
	line    line
	ready   []*entry // of those that can be merged: no other holds them up
	stale   int      // of ready, those whose callers have left
	waiting int      // entries that are neither sent nor gone
	flying  bool     // a write that could be merged is under way, or about to be
	closed  bool
	rested  bool          // idle is closed
	full    chan struct{} // of one: enough waits for a linger to end
	closing chan struct{} // closed by Close
	idle    chan struct{} // closed when nothing waits or flies after Close

	sizes  wrappers.Histogram // ops of what is sent
	merged wrappers.Histogram // callers' write sets in it
	apart  wrappers.Counter   // merged write sets that were refused and taken apart
}

// New wraps next.
func New(next storage.Backend, c Config, s wrappers.Settings) (_ *Backend, err error) {
	b := &Backend{next: next, config: c, layer: s.Stage,
		full: make(chan struct{}, 1), closing: make(chan struct{}), idle: make(chan struct{})}
	if b.log = s.Log; b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if s.Tracer != nil {
		b.tracer = s.Tracer.Tracer("github.com/plinthkv/plinth/wrappers/batch")
	}
	bounds := []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}
	if b.sizes, err = s.Histogram("plinth.batch.ops", "{op}", "Ops of the write sets that were sent.", bounds); err != nil {
		return nil, err
	}
	if b.merged, err = s.Histogram("plinth.batch.merged", "{write}", "Writes of callers in each write set that was sent.", bounds); err != nil {
		return nil, err
	}
	b.apart, err = s.Counter("plinth.batch.taken_apart", "{batch}", "Merged write sets that were refused and applied one by one.")
	return b, err
}

// limits returns those of a merged write set.
func (b *Backend) limits() (maxOps, maxBytes int) {
	l := b.next.Info().Limits
	maxOps, maxBytes = b.config.MaxOps, b.config.MaxBytes
	if l.Ops > 0 {
		maxOps = min(maxOps, l.Ops)
	}
	if l.WriteBytes > 0 {
		maxBytes = min(maxBytes, l.WriteBytes)
	}
	return maxOps, maxBytes
}

// Apply sends w, alone or with others.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	maxOps, maxBytes := b.limits()
	size := sizeOf(w)
	alone := len(w.Checks) > 0 || len(w.Ops) == 0 || w.ID != [16]byte{} || len(w.Ops) > maxOps || size > maxBytes
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		return 0, &storage.Error{Code: storage.ShuttingDown, Op: "apply", Layer: b.layer}
	case alone && !b.line.meets(w):
		b.mu.Unlock()
		return b.next.Apply(ctx, w)
	case !alone && !b.flying && b.waiting == 0 && b.config.Linger == 0:
		b.flying = true
		b.mu.Unlock()
		defer b.landed() // also when next panics
		b.sizes.Record(int64(len(w.Ops)))
		b.merged.Record(1)
		return b.next.Apply(ctx, w)
	}
	e := &entry{ctx: ctx, w: w, alone: alone, size: size, count: 1 + len(w.Ops) + len(w.Checks), done: make(chan outcome, 1)}
	if !alone {
		e.w = copied(w, size)
	}
	b.line.add(e)
	b.waiting++
	if e.blocked == 0 {
		b.free(e)
	}
	if b.waiting >= maxOps {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
	b.stir()
	b.mu.Unlock()
	return b.wait(ctx, e, w)
}

// wait returns what comes of a write that waits.
func (b *Backend) wait(ctx context.Context, e *entry, w *storage.WriteSet) (uint64, error) {
	select {
	case o := <-e.done:
		if o.itself {
			defer b.end(e) // also when next panics
			return b.next.Apply(ctx, w)
		}
		return o.version, o.err
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !e.sent {
		b.leave(e)
		return 0, storage.ContextError(ctx)
	}
	select {
	case o := <-e.done: // it was settled meanwhile
		if o.itself {
			b.depart(e)
			return 0, storage.ContextError(ctx)
		}
		return o.version, o.err
	default:
	}
	e.gone = true
	if e.group.left++; e.group.left == len(e.group.entries) {
		e.group.cancel()
	}
	return 0, &storage.Error{Code: storage.OutcomeUnknown, Op: "apply", Layer: b.layer, Unknown: true,
		Msg: "the caller left while the write was under way", Err: ctx.Err()}
}

// leave notes that the caller of e has left while it waited. As long as other entries hold
// e up, it holds up those behind it, in the place of those before. The lock is held.
func (b *Backend) leave(e *entry) {
	e.gone, e.w = true, nil
	b.waiting--
	if e.blocked > 0 {
		b.line.live -= e.count
		b.line.stale += e.count
		e.count = 0
		b.line.tidy(b.free)
		b.stir()
		return
	}
	if b.stale++; b.stale > len(b.ready)/2+32 {
		b.ready = slices.DeleteFunc(b.ready, func(e *entry) bool { return e.gone })
		b.stale = 0
	}
	b.depart(e)
}

// end says that a write that its caller applied itself has ended.
func (b *Backend) end(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.depart(e)
}

// depart takes entries out of the line, and lets go on what they held up. The lock
// is held.
func (b *Backend) depart(gone ...*entry) {
	b.line.depart(gone, b.free)
	b.line.tidy(b.free)
	b.stir()
}

// free notes that no entry holds e up any more. The lock is held.
func (b *Backend) free(e *entry) {
	if !e.alone {
		b.ready = append(b.ready, e)
		return
	}
	e.sent = true
	b.waiting--
	e.done <- outcome{itself: true}
}

// stir sends what is ready, unless that is being done. The lock is held.
func (b *Backend) stir() {
	switch {
	case b.flying:
	case len(b.ready) > b.stale:
		b.flying = true
		go b.run()
	case b.closed && b.waiting == 0 && !b.rested:
		b.rested = true
		close(b.idle)
	}
}

// landed lets what has come meanwhile go on.
func (b *Backend) landed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flying = false
	b.stir()
}

// run sends what is ready until nothing is.
func (b *Backend) run() {
	for {
		b.linger()
		maxOps, maxBytes := b.limits()
		b.mu.Lock()
		members := b.take(maxOps, maxBytes)
		if len(members) == 0 {
			b.flying = false
			b.stir()
			b.mu.Unlock()
			return
		}
		g, ctx := newGroup(members)
		b.mu.Unlock()
		b.send(ctx, g)
	}
}

// take picks the next merged write set from what is ready. The lock is held.
func (b *Backend) take(maxOps, maxBytes int) (members []*entry) {
	ops, size, taken := 0, 0, 0
	for _, e := range b.ready {
		if e.gone {
			b.stale--
			taken++
			continue
		}
		if len(members) > 0 && (ops+len(e.w.Ops) > maxOps || size+e.size > maxBytes) {
			break
		}
		e.sent = true
		members = append(members, e)
		ops += len(e.w.Ops)
		size += e.size
		taken++
	}
	clear(b.ready[:taken])
	b.ready = b.ready[taken:]
	b.waiting -= len(members)
	return members
}

// linger waits for others to come, if it is to.
func (b *Backend) linger() {
	if b.config.Linger == 0 {
		return
	}
	timer := time.NewTimer(b.config.Linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.full:
	case <-b.closing:
	}
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

// Changes calls the next backend. The writes that were merged come as one write set.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return b.next.Changes(ctx, q)
}

// Health calls the next backend.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return b.next.Health(ctx, p)
}

// Info returns the next backend's info.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close sends all waiting writes, and refuses new ones. It is idempotent. Ended by
// ctx, the rest is still being sent.
func (b *Backend) Close(ctx context.Context) error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.closing)
		b.stir()
	}
	b.mu.Unlock()
	select {
	case <-b.idle:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("batch: writes are still under way"), storage.ContextError(ctx))
	}
}

var _ storage.Backend = (*Backend)(nil)
