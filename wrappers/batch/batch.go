package batch

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
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
	tracer trace.Tracer // nil: no spans
	log    *slog.Logger

	mu      sync.Mutex
	waiting []*entry      // in the order in which they came
	under   []*entry      // writes that waited and that their callers apply themselves now
	stalled bool          // all that waits meets what is under way; see stir
	stirred chan struct{} // of one: something has come, or is no longer among under
	flying  bool          // a write that could be merged is under way, or about to be
	closed  bool
	full    chan struct{} // of one: enough waits for a linger to end
	closing chan struct{} // closed by Close
	idle    chan struct{} // closed when nothing waits or flies after Close

	sizes  wrappers.Histogram // ops of what is sent
	merged wrappers.Histogram // callers' write sets in it
	apart  wrappers.Counter   // merged write sets that were refused and taken apart
}

// New puts the wrapper over next.
func New(next storage.Backend, c Config, s wrappers.Settings) (_ *Backend, err error) {
	b := &Backend{next: next, config: c, layer: s.Stage,
		stirred: make(chan struct{}, 1), full: make(chan struct{}, 1), closing: make(chan struct{}), idle: make(chan struct{})}
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

// limits are those of a merged write set.
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
	case alone && !meetsAny(b.waiting, w):
		b.mu.Unlock()
		return b.next.Apply(ctx, w)
	case !alone && !b.flying && len(b.waiting) == 0 && b.config.Linger == 0:
		b.flying = true
		b.mu.Unlock()
		defer b.landed() // also when next panics
		b.sizes.Record(int64(len(w.Ops)))
		b.merged.Record(1)
		return b.next.Apply(ctx, w)
	}
	e := &entry{ctx: ctx, w: w, alone: alone, size: size, done: make(chan outcome, 1)}
	if !alone {
		e.w = copied(w, size)
	}
	b.waiting = append(b.waiting, e)
	if len(b.waiting) >= maxOps {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
	if !b.flying { // linger
		b.flying = true
		go b.run()
	}
	b.stir()
	b.mu.Unlock()
	return b.wait(ctx, e, w)
}

// wait is what comes of a write that waits.
func (b *Backend) wait(ctx context.Context, e *entry, w *storage.WriteSet) (uint64, error) {
	select {
	case o := <-e.done:
		if o.itself {
			defer b.end(e)
			return b.next.Apply(ctx, w)
		}
		return o.version, o.err
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if at := slices.Index(b.waiting, e); at >= 0 {
		b.waiting = slices.Delete(b.waiting, at, at+1)
		return 0, storage.ContextError(ctx)
	}
	select {
	case o := <-e.done: // it was settled meanwhile
		if o.itself {
			b.free(e)
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

// end says that a write that its caller applied itself has ended.
func (b *Backend) end(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free(e)
}

// free is end with the lock held.
func (b *Backend) free(e *entry) {
	at := slices.Index(b.under, e)
	b.under = slices.Delete(b.under, at, at+1)
	b.stir()
}

// stir has a stalled run look again at what waits. The lock is held.
func (b *Backend) stir() {
	if b.stalled {
		b.stalled = false
		b.stirred <- struct{}{} // it has room: run takes it before it stalls again
	}
}

// landed lets what has come meanwhile go on.
func (b *Backend) landed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) > 0 {
		go b.run()
		return
	}
	b.rest()
}

// rest says that nothing flies. The lock is held.
func (b *Backend) rest() {
	b.flying = false
	if b.closed {
		close(b.idle)
	}
}

// run sends what waits until nothing does.
func (b *Backend) run() {
	for {
		b.linger()
		maxOps, maxBytes := b.limits()
		b.mu.Lock()
		if len(b.waiting) == 0 {
			b.rest()
			b.mu.Unlock()
			return
		}
		members, alone, rest := take(b.waiting, b.under, maxOps, maxBytes)
		b.waiting = rest
		b.under = append(b.under, alone...)
		var g *group
		var ctx context.Context
		if len(members) > 0 {
			g, ctx = newGroup(members)
		}
		for _, e := range alone {
			e.done <- outcome{itself: true}
		}
		b.stalled = g == nil && len(alone) == 0
		stalled := b.stalled
		b.mu.Unlock()
		switch {
		case g != nil:
			b.send(ctx, g)
		case stalled:
			<-b.stirred
		}
	}
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

// newGroup is a group with the context that it is applied under: it ends when the
// last of its callers has left, or the latest of their deadlines passes.
func newGroup(members []*entry) (*group, context.Context) {
	g := &group{entries: members}
	ctx := context.WithoutCancel(members[0].ctx)
	var latest time.Time
	bounded := true
	for _, e := range members {
		e.group = g
		end, ok := e.ctx.Deadline()
		bounded = bounded && ok
		if end.After(latest) {
			latest = end
		}
	}
	if bounded {
		ctx, g.cancel = context.WithDeadline(ctx, latest)
	} else {
		ctx, g.cancel = context.WithCancel(ctx)
	}
	return g, ctx
}

// send applies a group and tells its callers.
func (b *Backend) send(ctx context.Context, g *group) {
	defer g.cancel()
	w := merge(g.entries)
	b.sizes.Record(int64(len(w.Ops)))
	b.merged.Record(int64(len(g.entries)))
	version, err := b.apply(ctx, g, w)
	o := outcome{version: version, err: err}
	if e := storage.AsError(err); e != nil && !e.Unknown && len(g.entries) > 1 {
		b.apart.Add(1)
		o = outcome{itself: true}
	}
	b.mu.Lock() // so that a caller who leaves sees one or the other
	defer b.mu.Unlock()
	for _, e := range g.entries {
		if o.itself && !e.gone {
			b.under = append(b.under, e)
		}
		e.done <- o
	}
}

// apply sends a merged write set. A panic below is its callers' error: nobody
// else could catch it here.
func (b *Backend) apply(ctx context.Context, g *group, w *storage.WriteSet) (version uint64, err error) {
	defer func() {
		if p := recover(); p != nil {
			// What it says goes to the log only: it may hold a key or a value.
			b.log.Error("a call panicked", "panic", p, "stack", string(debug.Stack()))
			err = &storage.Error{Code: storage.Internal, Op: "apply", Layer: b.layer, Unknown: true, Msg: "a panic below"}
		}
	}()
	ctx, end := b.trace(ctx, g)
	defer end()
	return b.next.Apply(ctx, w)
}

// trace starts the span of a merged write set, if a caller's records: a child of
// the first, linked to the others.
func (b *Backend) trace(ctx context.Context, g *group) (context.Context, func()) {
	if b.tracer == nil || len(g.entries) < 2 {
		return ctx, func() {}
	}
	var parent trace.Span
	var links []trace.Link
	for _, e := range g.entries {
		switch span := trace.SpanFromContext(e.ctx); {
		case !span.IsRecording():
		case parent == nil:
			parent = span
		default:
			links = append(links, trace.Link{SpanContext: span.SpanContext()})
		}
	}
	if parent == nil {
		return ctx, func() {}
	}
	ctx, span := b.tracer.Start(trace.ContextWithSpan(ctx, parent), "merged writes", trace.WithLinks(links...))
	return ctx, func() { span.End() }
}

// Get asks the next.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	return b.next.Get(ctx, key)
}

// GetMany asks the next.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	return b.next.GetMany(ctx, keys)
}

// Scan asks the next.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	return b.next.Scan(ctx, q)
}

// Health asks the next.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return b.next.Health(ctx, p)
}

// Info is the next's.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close sends what waits, and takes no more writes. It is idempotent. Ended by
// ctx, the rest is still being sent.
func (b *Backend) Close(ctx context.Context) error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.closing)
		if !b.flying {
			close(b.idle)
		}
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
