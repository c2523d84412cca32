//go:build unix

package procs

import (
	"context"
	"encoding/hex"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// scope is the instrumentation scope of what the carrier emits.
const scope = "github.com/plinthkv/plinth/internal/carrier/procs"

var spanNames = map[abi.Op]string{abi.OpGet: "plinth.process get", abi.OpGetMany: "plinth.process get_many", abi.OpScan: "plinth.process scan",
	abi.OpApply: "plinth.process apply", abi.OpHealth: "plinth.process health"}

// traces tells whether calls of ctx have spans: only under a parent that records.
func (p *Plugin) traces(ctx context.Context) bool {
	return p.tracer != nil && trace.SpanFromContext(ctx).IsRecording()
}

// spanned is a call's span; the zero value: it has none.
type spanned struct{ span trace.Span }

// span starts the span of a call, and puts its context into the header, so that
// what the plugin does can be found under it.
func (p *Plugin) span(ctx context.Context, op abi.Op, h *abi.Header) spanned {
	_, span := p.tracer.Start(ctx, spanNames[op], trace.WithAttributes(attribute.String("plinth.plugin", p.opts.Name)))
	if sc := span.SpanContext(); sc.IsValid() {
		id, parent := sc.TraceID(), sc.SpanID()
		text := hex.AppendEncode(append(make([]byte, 0, 55), "00-"...), id[:])
		text = hex.AppendEncode(append(text, '-'), parent[:])
		h.Traceparent = append(text, '-', '0', '0'+byte(sc.TraceFlags()&trace.FlagsSampled))
		h.Tracestate = []byte(sc.TraceState().String())
	}
	return spanned{span}
}

// ends ends the span. Not found and conflict are answers.
func (s *spanned) ends(err error) {
	if s.span == nil {
		return
	}
	if code := storage.CodeOf(err); code != storage.OK && code != storage.NotFound && code != storage.Conflict {
		s.span.SetAttributes(attribute.String("error.type", code.Name()))
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
}

// meters are what a backend counts.
type meters struct {
	calls atomic.Int64
	stop  func() error
}

// meter has what is counted observed. Nil: there is nowhere to.
func (b *Backend) meter() (*meters, error) {
	p := b.p.opts.Meter
	if p == nil {
		return nil, nil
	}
	own := []attribute.KeyValue{attribute.String("plinth.plugin", b.p.opts.Name)}
	if b.store != "" {
		own = append(own, attribute.String("db.namespace", b.store))
	}
	unstate, err := supervise.Measure(p, b.life.Status, own...)
	if err != nil {
		return nil, err
	}
	unlog, err := b.p.logged.Measure(p, own[0])
	if err != nil {
		return nil, errors.Join(err, unstate())
	}
	unstate = both(unstate, unlog)
	ms := &meters{}
	with := metric.WithAttributeSet(attribute.NewSet(own...))
	m := p.Meter(scope)
	calls, err1 := m.Int64ObservableCounter("plinth.instance.calls", metric.WithUnit("{call}"), metric.WithDescription("Requests sent into plugin instances."))
	restarts, err2 := m.Int64ObservableCounter("plinth.instance.restarts", metric.WithUnit("{restart}"), metric.WithDescription("Plugin instances that were started in the place of lost ones."))
	losses, err3 := m.Int64ObservableCounter("plinth.instance.losses", metric.WithUnit("{loss}"), metric.WithDescription("Losses of state that running plugins have told."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, errors.Join(err, unstate())
	}
	registered, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(calls, ms.calls.Load(), with)
		o.ObserveInt64(restarts, int64(b.life.Status().Restarts), with)
		o.ObserveInt64(losses, b.losses.Load(), with)
		return nil
	}, calls, restarts, losses)
	if err != nil {
		return nil, errors.Join(err, unstate())
	}
	ms.stop = func() error { return errors.Join(registered.Unregister(), unstate()) }
	return ms, nil
}

func both(a, b func() error) func() error {
	return func() error { return errors.Join(a(), b()) }
}
