package batch

import (
	"context"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/storage"
)

// newGroup returns a group with the context that it is applied under: it ends when the
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

// send applies a group and passes the outcome to its callers.
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
	gone := make([]*entry, 0, len(g.entries))
	for _, e := range g.entries {
		if !o.itself || e.gone {
			gone = append(gone, e)
		}
		e.done <- o
	}
	b.depart(gone...)
}

// apply sends a merged write set. A panic below becomes the error of its callers, who
// cannot catch it themselves.
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
