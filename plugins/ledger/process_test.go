package ledger_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
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
	o.Name, o.Command, o.Env, o.Plaintext = "ledger", []string{self}, carrier.EnvOf(map[string]string{asPlugin: "1", "GORACE": "atexit_sleep_ms=0"}), true
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
	t.Parallel()
	clock := wholeSecond()
	p := asProcess(t, procs.Options{Clock: clock.Now})
	f := factoryOf(clock, func(ctx context.Context, c *ledgertest.Cluster) (storage.Backend, error) {
		return p.Open(ctx, "s", processConfig(c))
	})
	f.Again = true
	t.Run("alone", func(t *testing.T) {
		if os.Getenv("PLINTH_KIT") != "whole" {
			t.Skip("the two parts run apart, alone in the host's process and over a prefix in one of its own: PLINTH_KIT=whole runs them together")
		}
		storagetest.Run(t, f, exceptions()...)
	})
	t.Run("under the default pipeline", func(t *testing.T) {
		storagetest.Run(t, behind(f, func(b storage.Backend) (storage.Backend, error) { return overAPrefix(b, clock) }), largeRanges)
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

// A loss that the cluster has while the process runs reaches the host: what it knows of
// the incarnation changes, and caches are notified.
func TestLossReachesTheHost(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	raw, err := json.Marshal(settings(c, func(l *ledger.Config) { l.ElectionWait, l.OnLoss = "100ms", ledger.ContinueOnLoss }))
	if err != nil {
		t.Fatal(err)
	}
	for _, grpc := range []bool{false, true} {
		reader := sdkmetric.NewManualReader()
		p := asProcess(t, procs.Options{Plain: grpc, Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
		b, err := p.Open(t.Context(), "s", raw)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(context.Background())
		lost := make(chan struct{}, 9)
		b.WhenLost(func() { lost <- struct{}{} })
		before := b.Info().Incarnation
		if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("1"))}}); err != nil {
			t.Fatal(err)
		}
		wantValue(t, b, "k", "1")
		c.Checkpoint()
		if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("2"))}}); err != nil {
			t.Fatal(err)
		}
		if err := c.Lose(c.Leader()); err != nil {
			t.Fatal(err)
		}
		wantValue(t, b, "k", "1")
		select {
		case <-lost:
		case <-time.After(20 * time.Second):
			t.Fatal("no one was notified")
		}
		if b.Info().Incarnation == before {
			t.Error("the incarnation is the same")
		}
		var m metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &m); err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(m); !strings.Contains(text, "plinth.instance.losses") {
			t.Errorf("the metrics are %s", text)
		}
	}
}
