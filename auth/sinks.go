package auth

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
)

// scope is the name under which events are logs of OpenTelemetry.
const scope = "github.com/plinthkv/plinth/auth"

// eventName is that of an audit event in logs.
const eventName = "audit_event"

// SlogSink returns a sink that writes events as log records of level info. It never
// fails: a logger does not report whether a record arrived. It panics if the logger is nil.
func SlogSink(l *slog.Logger) Sink {
	if l == nil {
		panic("auth: SlogSink requires a logger")
	}
	return slogSink{l}
}

type slogSink struct{ log *slog.Logger }

func (s slogSink) Record(ctx context.Context, e Event) error {
	fields := e.fields()
	args := make([]any, len(fields))
	for i, f := range fields {
		args[i] = slog.String(f[0], f[1])
	}
	s.log.InfoContext(ctx, eventName, args...)
	return nil
}

// OTelSink returns a sink that writes events as log records of OpenTelemetry. It never
// fails: exporters report errors elsewhere. It panics if the provider is nil.
func OTelSink(p log.LoggerProvider) Sink {
	if isNil(p) {
		panic("auth: OTelSink requires a logger provider")
	}
	return otelSink{p.Logger(scope)}
}

type otelSink struct{ log log.Logger }

func (s otelSink) Record(ctx context.Context, e Event) error {
	var r log.Record
	r.SetTimestamp(e.Time)
	r.SetSeverity(log.SeverityInfo)
	r.SetEventName(eventName)
	r.SetBody(attribute.StringValue(string(e.Action) + " " + e.Resource() + ": " + e.Result))
	for _, f := range e.fields() {
		r.AddAttributes(attribute.String(f[0], f[1]))
	}
	s.log.Emit(ctx, r)
	return nil
}

// fields returns the event's for logs, with the names that the original gave them.
func (e *Event) fields() [][2]string {
	result := e.Result
	if e.Reason != "" {
		result += ": " + e.Reason
	}
	all := [][2]string{
		{"audit.timestamp", e.Time.UTC().Format("2006-01-02T15:04:05.999999999-07:00")}, {"audit.actor", e.Actor}, {"audit.action", string(e.Action)},
		{"audit.resource", e.Resource()}, {"audit.result", result}, {"audit.metadata", e.metadata()}, {"audit.operation", e.Operation},
	}
	if e.TraceID != "" {
		all = append(all, [2]string{"audit.trace_id", e.TraceID})
	}
	return all
}

// metadata returns k=v, k=v, sorted by name.
func (e *Event) metadata() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(e.Metadata)) {
		parts = append(parts, name+"="+e.Metadata[name])
	}
	return strings.Join(parts, ", ")
}
