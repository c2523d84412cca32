package client_test

import (
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/server/grpcserver"
)

// One trace goes from the caller through the client into the server.
func TestTrace(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracer := trace.NewTracerProvider(trace.WithSyncer(spans))
	srv, err := serveTraced(grpcserver.Config{}, mem(time.Now), time.Now, tracer)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.stop()
	c := dial(t, client.Config{Address: srv.address}, client.Settings{Tracer: tracer})
	spans.Reset() // those of Dial
	ctx, caller := tracer.Tracer("test").Start(t.Context(), "caller")
	if _, err := c.Apply(ctx, put("k", "v")); err != nil {
		t.Fatal(err)
	}
	caller.End()
	eventually(t, func() bool { return len(spans.GetSpans()) >= 3 })
	parents := map[string]string{}
	for _, s := range spans.GetSpans() {
		for _, p := range spans.GetSpans() {
			if s.Parent.SpanID() == p.SpanContext.SpanID() && s.SpanContext.TraceID() == caller.SpanContext().TraceID() {
				parents[s.SpanKind.String()] = p.SpanKind.String()
			}
		}
	}
	if parents["server"] != "client" || parents["client"] != "internal" {
		t.Errorf("parents: %v", parents)
	}
}
