package setup

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
)

// scope is the instrumentation scope of the program's logs.
const scope = "github.com/plinthkv/plinth"

// bridge hands records of slog's to OpenTelemetry, which takes trace and span of
// the context.
func bridge(p otellog.LoggerProvider) slog.Handler {
	return otelslog.NewHandler(scope, otelslog.WithLoggerProvider(p))
}

// leveled passes records of debug to a handler only where another handler gets them.
type leveled struct {
	slog.Handler
	as slog.Handler
}

// Enabled reports whether the handler gets records of a level.
func (l leveled) Enabled(ctx context.Context, level slog.Level) bool {
	return l.Handler.Enabled(ctx, level) && (level >= slog.LevelInfo || l.as.Enabled(ctx, level))
}

// WithAttrs keeps the levels.
func (l leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{l.Handler.WithAttrs(attrs), l.as}
}

// WithGroup keeps the levels.
func (l leveled) WithGroup(name string) slog.Handler { return leveled{l.Handler.WithGroup(name), l.as} }

// WithTraceContext adds trace_id and span_id to the records that are made under a
// span, for logs that are read as text or JSON.
func WithTraceContext(h slog.Handler) slog.Handler { return &correlated{h} }

type correlated struct{ slog.Handler }

// Handle adds the ids of the context's span.
func (c *correlated) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return c.Handler.Handle(ctx, r)
}

// WithAttrs keeps the ids.
func (c *correlated) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &correlated{c.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the ids, which then stand in the group.
func (c *correlated) WithGroup(name string) slog.Handler {
	return &correlated{c.Handler.WithGroup(name)}
}

func serviceAttributes(s Settings) []attribute.KeyValue {
	var out []attribute.KeyValue
	if s.Service != "" {
		out = append(out, semconv.ServiceName(s.Service))
	}
	if s.Version != "" {
		out = append(out, semconv.ServiceVersion(s.Version))
	}
	return out
}
