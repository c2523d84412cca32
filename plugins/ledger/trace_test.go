package ledger_test

import (
	"context"
	"sync"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/storage"
)

// heard are the headers of the last request.
func heard(c *ledgertest.Cluster) func() metadata.MD {
	var mu sync.Mutex
	var last metadata.MD
	c.Hook(ledgertest.Hooks{Before: func(ctx context.Context, _ *ledgertest.Node, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		last, _ = metadata.FromIncomingContext(ctx)
		return nil
	}})
	return func() metadata.MD {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Requests are children of the span that is recorded where the call comes from, and
// the server hears of it.
func TestSpans(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c)
	headers := heard(c)
	recorded := tracetest.NewSpanRecorder()
	ctx, parent := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorded)).Tracer("test").Start(t.Context(), "parent")
	if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("secret-key"), bs("secret-value"))}}); err != nil {
		t.Fatal(err)
	}
	parent.End()
	spans := recorded.Ended()
	if len(spans) != 2 || spans[0].Name() != "ledger.v1.WriteService/Write" || spans[0].Parent().SpanID() != parent.SpanContext().SpanID() {
		t.Fatalf("the spans are %v", spans)
	}
	for _, a := range spans[0].Attributes() {
		if v := a.Value.String(); v == "secret-key" || v == "secret-value" {
			t.Errorf("the span holds %s=%s", a.Key, v)
		}
	}
	want := "00-" + spans[0].SpanContext().TraceID().String() + "-" + spans[0].SpanContext().SpanID().String() + "-01"
	if got := first(headers(), "traceparent"); got != want {
		t.Errorf("the server hears of %q, want %q", got, want)
	}
}

// Where nothing is recorded here, the trace still goes through, as does its state.
func TestTraceGoesThrough(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c)
	headers := heard(c)
	state, err := trace.ParseTraceState("vendor=x")
	if err != nil {
		t.Fatal(err)
	}
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceState: state, Remote: true})
	if _, err := b.Get(trace.ContextWithRemoteSpanContext(t.Context(), remote), bs("k")); storage.CodeOf(err) != storage.NotFound {
		t.Fatal(err)
	}
	if got := first(headers(), "traceparent"); got != "00-01000000000000000000000000000000-0200000000000000-00" {
		t.Errorf("the server hears of %q", got)
	}
	if got := first(headers(), "tracestate"); got != "vendor=x" {
		t.Errorf("the state is %q", got)
	}
	if got := first(headers(), "x-ledger-api-version"); got != "1" {
		t.Errorf("the version is %q", got)
	}
	if got := first(headers(), "x-sdk-version"); got != "go-plinth/1" {
		t.Errorf("the client is %q", got)
	}
}
