package carrier

import (
	"context"
	"encoding/hex"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// Spans are those of calls to one plugin. Nil: there are none.
type Spans struct {
	tracer trace.Tracer
	names  map[abi.Op]string
	with   trace.SpanStartEventOption
}

// NewSpans are spans named "plinth.KIND OP". A nil provider: nil.
func NewSpans(p trace.TracerProvider, scope, kind, plugin string) *Spans {
	if p == nil {
		return nil
	}
	s := &Spans{p.Tracer(scope), map[abi.Op]string{}, trace.WithAttributes(attribute.String("plinth.plugin", plugin))}
	for op := range abi.Ops() {
		s.names[op] = "plinth." + kind + " " + op.String()
	}
	return s
}

// On reports whether calls of ctx have spans: only under a parent that records.
func (s *Spans) On(ctx context.Context) bool {
	return s != nil && trace.SpanFromContext(ctx).IsRecording()
}

// Span is that of a call; the zero value: it has none.
type Span struct{ span trace.Span }

// Begin begins the span of a call, where it has one.
func (s *Spans) Begin(ctx context.Context, op abi.Op) (context.Context, Span) {
	if !s.On(ctx) {
		return ctx, Span{}
	}
	ctx, span := s.tracer.Start(ctx, s.names[op], s.with)
	return ctx, Span{span}
}

// Tell puts the span's context into a call's header, so that what the plugin does can be
// found under it. buf is appended to for the header's text.
func (s Span) Tell(h *abi.Header, buf []byte) []byte {
	if s.span == nil {
		return buf
	}
	sc := s.span.SpanContext()
	if !sc.IsValid() {
		return buf
	}
	id, span := sc.TraceID(), sc.SpanID()
	buf = append(buf, "00-"...)
	buf = hex.AppendEncode(buf, id[:])
	buf = hex.AppendEncode(append(buf, '-'), span[:])
	buf = append(buf, '-', '0', '0'+byte(sc.TraceFlags()&trace.FlagsSampled))
	h.Traceparent, h.Tracestate = buf, []byte(sc.TraceState().String())
	return buf
}

// Context is the span's; of none, one that is not valid.
func (s Span) Context() trace.SpanContext {
	if s.span == nil {
		return trace.SpanContext{}
	}
	return s.span.SpanContext()
}

// Set adds an attribute.
func (s Span) Set(a attribute.KeyValue) {
	if s.span != nil {
		s.span.SetAttributes(a)
	}
}

// End ends the span, once. Not found and conflict are answers.
func (s *Span) End(err error) {
	if s.span == nil {
		return
	}
	if code := storage.CodeOf(err); code != storage.OK && code != storage.NotFound && code != storage.Conflict {
		s.span.SetAttributes(attribute.String("error.type", code.Name()))
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
	s.span = nil
}
