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

// Spans makes the spans of calls to one plugin. Nil makes none.
type Spans struct {
	tracer trace.Tracer
	names  map[abi.Op]string
	with   trace.SpanStartEventOption
}

// NewSpans returns Spans named "plinth.KIND OP", or nil for a nil provider.
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

// On reports whether calls of ctx have spans: only under a recording parent.
func (s *Spans) On(ctx context.Context) bool {
	return s != nil && trace.SpanFromContext(ctx).IsRecording()
}

// Span holds the span of a call; the zero value is none.
type Span struct{ span trace.Span }

// Begin begins the span of a call, if it has one.
func (s *Spans) Begin(ctx context.Context, op abi.Op) (context.Context, Span) {
	if !s.On(ctx) {
		return ctx, Span{}
	}
	ctx, span := s.tracer.Start(ctx, s.names[op], s.with)
	return ctx, Span{span}
}

// Tell adds the span's context to a call's header, so that the plugin's spans become its
// children. It appends the header's text to buf.
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

// Context returns the span's; of none, one that is not valid.
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

// End ends the span, once. Not found and conflict are no errors.
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
