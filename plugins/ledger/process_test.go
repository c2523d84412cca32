package ledger_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/plinthkv/plinth/host/procs"
	"github.com/plinthkv/plinth/plugins/ledger/ledgertest"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// asProcess is the backend as a host runs it: in a process of its own.
func asProcess(t *testing.T, o procs.Options) *procs.Plugin {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Name, o.Command, o.Env, o.Plaintext = "ledger", []string{self}, map[string]string{asPlugin: "1", "GORACE": "atexit_sleep_ms=0"}, true
	o.Log, o.Start = slog.New(slog.DiscardHandler), time.Minute
	p, err := procs.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// processConfig is the configuration of a backend on a cluster, as a host gives it.
func processConfig(c *ledgertest.Cluster) json.RawMessage {
	raw, err := json.Marshal(settings(c))
	if err != nil {
		panic(err)
	}
	return raw
}

// Alone with the same exceptions as in the host's own process, and over a prefix, as
// in TestConformanceBehindAPrefix, with none.
func TestConformanceAsAProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector: each check starts a process")
	}
	clock := wholeSecond()
	p := asProcess(t, procs.Options{Clock: clock.Now})
	f := factoryOf(clock, func(ctx context.Context, c *ledgertest.Cluster) (storage.Backend, error) {
		return p.Open(ctx, "s", processConfig(c))
	})
	t.Run("alone", func(t *testing.T) { storagetest.Run(t, f, exceptions()...) })
	t.Run("under the default pipeline", func(t *testing.T) {
		storagetest.Run(t, behind(f, func(b storage.Backend) (storage.Backend, error) { return overAPrefix(b, clock) }))
	})
}

// The process works, hears of what is wrong with its configuration at its place, and
// the cluster hears of the trace that the host is part of.
func TestAsAProcess(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(tracetest.NewSpanRecorder()))
	p := asProcess(t, procs.Options{Tracer: tracer})
	b, err := p.Open(t.Context(), "s", processConfig(c))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	headers := heard(c)
	ctx, span := tracer.Tracer("test").Start(t.Context(), "parent")
	defer span.End()
	if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("v"))}}); err != nil {
		t.Fatal(err)
	}
	if got := first(headers(), "traceparent"); len(got) != 55 || got[3:35] != span.SpanContext().TraceID().String() {
		t.Errorf("the server hears of %q, the trace is %s", got, span.SpanContext().TraceID())
	}
	c.Hook(ledgertest.Hooks{})
	wantValue(t, b, "k", "v")
	if i := b.Info(); i.Name != "ledger" || !i.Caps.Has(storage.CapDurable) || i.Caps.Has(storage.CapVersions) || i.Limits.TTLPrecision != time.Second {
		t.Errorf("it is %+v", i)
	}
	_, err = p.Open(t.Context(), "s", json.RawMessage(`{"endpoints": ["`+c.Endpoints()[0]+`"], "organization": 1, "vault": 2}`))
	if e := wantCode(t, err, storage.InvalidArgument); e.ConfigPath != "vault" {
		t.Errorf("the error is at %q", e.ConfigPath)
	}
}
