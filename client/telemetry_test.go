package client_test

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
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

// faulty is a backend that cannot get several keys.
type faulty struct{ storage.Backend }

func (faulty) GetMany(context.Context, [][]byte) ([]storage.Item, error) {
	return nil, &storage.Error{Code: storage.Internal, Msg: "broken"}
}

// What is an answer is no error of a span; what is none is one.
func TestSpansOfExpectedOutcomes(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracer := trace.NewTracerProvider(trace.WithSyncer(spans))
	srv, err := serve(grpcserver.Config{}, faulty{mem(time.Now)}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.stop()
	c := dial(t, client.Config{Address: srv.address}, client.Settings{Tracer: tracer})
	conflict := put("k", "v")
	conflict.Checks = []storage.Check{storage.Present([]byte("k"))}
	for name, call := range map[string]struct {
		do   func() error
		want storage.Code
		span codes.Code
	}{
		"absent":   {func() error { _, err := c.Get(t.Context(), []byte("none")); return err }, storage.NotFound, codes.Ok},
		"conflict": {func() error { _, err := c.Apply(t.Context(), conflict); return err }, storage.Conflict, codes.Ok},
		"a fault":  {func() error { _, err := c.GetMany(t.Context(), [][]byte{[]byte("k")}); return err }, storage.Internal, codes.Error},
	} {
		spans.Reset()
		if err := call.do(); storage.CodeOf(err) != call.want {
			t.Errorf("%s: %v", name, err)
		}
		if got := spans.GetSpans(); len(got) != 1 || got[0].Status.Code != call.span {
			t.Errorf("%s: %d spans, %+v", name, len(got), got)
		}
	}
}
