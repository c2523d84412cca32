package otel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/otel"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// telemetry gathers what an instrumented store emits.
type telemetry struct {
	spans  *tracetest.SpanRecorder
	tracer *sdktrace.TracerProvider
	reader *sdkmetric.ManualReader
	store  *storage.Store
}

func instrumented(t testing.TB, below storage.Backend, c otel.Config) *telemetry {
	t.Helper()
	tel := &telemetry{spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	tel.tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(tel.spans))
	b, err := otel.New(below, c, wrappers.Settings{Store: "cities", Stage: "instrument",
		Tracer: tel.tracer, Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(tel.reader))})
	if err != nil {
		t.Fatal(err)
	}
	tel.store = storage.New(b, storage.Settings{})
	return tel
}

func newMemory() storage.Backend { return memory.New(memory.DefaultConfig(), sdk.Env{}) }

// calls makes one call of each kind, and returns what each is to be called.
func (tel *telemetry) calls(ctx context.Context) []string {
	s, k, v := tel.store, []byte("secret-key"), []byte("secret-value")
	s.Get(ctx, k)
	s.Set(ctx, k, v)
	s.Get(ctx, k)
	s.GetMany(ctx, [][]byte{k, k})
	s.Put(ctx, k, v, storage.IfAbsent())
	s.Put(ctx, k, v, storage.IfValue(v))
	s.Remove(ctx, k, storage.IfPresent())
	s.Delete(ctx, k)
	s.ClearRange(ctx, nil, nil)
	s.Update(ctx, func(tx *storage.Txn) error {
		tx.Set(ctx, k, v)
		return tx.Set(ctx, []byte("another"), v)
	})
	for range s.Prefix(ctx, nil, storage.RangeOptions{}) {
	}
	s.Health(ctx, storage.Readiness)
	return []string{"get not_found", "set ok", "get ok", "get_many ok", "compare_and_set conflict", "compare_and_set ok",
		"compare_and_delete ok", "delete ok", "clear_range ok", "commit ok", "scan ok", "health ok"}
}

func attributes(kv []attribute.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range kv {
		m[string(a.Key)] = a.Value.String()
	}
	return m
}

// Each call is a span under the caller's, named and labelled by the conventions,
// without keys and values. Not found and conflict are outcomes, not errors.
func TestSpans(t *testing.T) {
	tel := instrumented(t, newMemory(), otel.DefaultConfig())
	ctx, parent := tel.tracer.Tracer("test").Start(context.Background(), "caller")
	want := tel.calls(ctx)
	parent.End()
	ended := tel.spans.Ended()
	for i, w := range want {
		s := ended[i]
		op, outcome, _ := strings.Cut(w, " ")
		a := attributes(s.Attributes())
		if s.Name() != op+" cities" || s.SpanKind() != trace.SpanKindClient || a["plinth.outcome"] != outcome || a["db.operation.name"] != op ||
			a["db.system.name"] != "memory" || a["db.namespace"] != "cities" || a["error.type"] != "" || s.Status().Code != codes.Unset {
			t.Errorf("span %d is %s %v %v, want %s", i, s.Name(), a, s.Status(), w)
		}
		if s.Parent().SpanID() != parent.SpanContext().SpanID() {
			t.Errorf("%s is not under its caller", s.Name())
		}
		if strings.Contains(fmt.Sprint(a), "secret") {
			t.Errorf("%s tells what it must not: %v", s.Name(), a)
		}
	}
	if len(ended) != len(want)+1 {
		t.Errorf("%d spans, want %d and the caller's", len(ended), len(want))
	}
	if a := attributes(ended[3].Attributes()); a["db.operation.batch.size"] != "2" {
		t.Errorf("get_many: %v", a)
	}
}

// Without a parent that records there are no spans.
func TestNoSpansOfTheirOwn(t *testing.T) {
	tel := instrumented(t, newMemory(), otel.DefaultConfig())
	tel.calls(context.Background())
	never := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	ctx, _ := never.Tracer("test").Start(context.Background(), "caller")
	tel.calls(ctx)
	if n := len(tel.spans.Ended()); n != 0 {
		t.Errorf("%d spans", n)
	}
}

// A failure is an error in the span and in the metric, by its code.
func TestFailures(t *testing.T) {
	tel := instrumented(t, broken{newMemory()}, otel.DefaultConfig())
	ctx, parent := tel.tracer.Tracer("test").Start(context.Background(), "caller")
	tel.store.Get(ctx, []byte("k"))
	parent.End()
	s := tel.spans.Ended()[0]
	if a := attributes(s.Attributes()); a["error.type"] != "unavailable" || a["plinth.outcome"] != "unavailable" || s.Status().Code != codes.Error {
		t.Errorf("%v %v", a, s.Status())
	}
	if got := tel.counts(t)["get unavailable unavailable"]; got != 1 {
		t.Errorf("%v", tel.counts(t))
	}
}

// A backend that says that it is unhealthy is an error of the question.
func TestUnhealthy(t *testing.T) {
	tel := instrumented(t, broken{newMemory()}, otel.DefaultConfig())
	ctx, parent := tel.tracer.Tracer("test").Start(context.Background(), "caller")
	if h, err := tel.store.Health(ctx, storage.Readiness); err != nil || h.Status != storage.Unhealthy {
		t.Fatal(h, err)
	}
	parent.End()
	s := tel.spans.Ended()[0]
	if s.Status().Code != codes.Error || !strings.Contains(s.Status().Description, "no disk") || tel.counts(t)["health unavailable unavailable"] != 1 {
		t.Errorf("%v %v", s.Status(), tel.counts(t))
	}
}

type broken struct{ storage.Backend }

func (broken) Health(context.Context, storage.Probe) (storage.Health, error) {
	return storage.Health{Status: storage.Unhealthy, Reason: "no disk"}, nil
}

func (broken) Get(context.Context, []byte) (storage.Item, error) {
	return storage.Item{}, errors.Join(storage.ErrUnavailable, errors.New("a cause"))
}

// counts are the measured durations by operation, outcome and error type.
func (tel *telemetry) counts(t *testing.T) map[string]uint64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := tel.reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			h, ok := m.Data.(metricdata.Histogram[float64])
			if !ok || m.Name != "db.client.operation.duration" || m.Unit != "s" {
				t.Fatalf("metric %s in %s", m.Name, m.Unit)
			}
			for _, p := range h.DataPoints {
				a := attributes(p.Attributes.ToSlice())
				if a["db.namespace"] != "cities" || a["db.system.name"] != "memory" || a["plinth.stage"] != "instrument" {
					t.Errorf("%v", a)
				}
				counts[strings.TrimSpace(a["db.operation.name"]+" "+a["plinth.outcome"]+" "+a["error.type"])] += p.Count
			}
		}
	}
	return counts
}

func TestDurations(t *testing.T) {
	tel := instrumented(t, newMemory(), otel.DefaultConfig())
	want := map[string]uint64{}
	for _, w := range tel.calls(context.Background()) {
		want[w]++
	}
	if got := tel.counts(t); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSwitches(t *testing.T) {
	tel := instrumented(t, newMemory(), otel.Config{})
	ctx, parent := tel.tracer.Tracer("test").Start(context.Background(), "caller")
	tel.calls(ctx)
	parent.End()
	if n := len(tel.spans.Ended()); n != 1 || len(tel.counts(t)) != 0 {
		t.Errorf("%d spans, %v", n, tel.counts(t))
	}
}

// A call that is not sampled allocates nothing here, measured or not.
func TestAllocations(t *testing.T) {
	absent := []byte("absent") // memory returns it without an allocation
	ctx := context.Background()
	for name, p := range map[string]wrappers.Settings{
		"nowhere":  {},
		"measured": {Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))},
	} {
		b, err := otel.New(newMemory(), otel.DefaultConfig(), p)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(1000, func() { b.Get(ctx, absent) }); n != 0 {
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}

// What a get costs more: without providers, with durations, with a trace above
// that is not sampled, by tenant, and sampled. All but the last allocate nothing.
func BenchmarkGet(b *testing.B) {
	absent := []byte("org/a/absent")
	silent, err := otel.New(newMemory(), otel.DefaultConfig(), wrappers.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	tracing := func(s sdktrace.Sampler) context.Context {
		ctx, _ := sdktrace.NewTracerProvider(sdktrace.WithSampler(s)).Tracer("").Start(context.Background(), "caller")
		return ctx
	}
	measured := instrumented(b, newMemory(), otel.DefaultConfig()).store.Backend()
	for _, c := range []struct {
		name string
		b    storage.Backend
		ctx  context.Context
	}{
		{"bare", newMemory(), context.Background()},
		{"no providers", silent, context.Background()},
		{"measured", measured, context.Background()},
		{"not sampled", measured, tracing(sdktrace.NeverSample())},
		{"by tenant", instrumented(b, newMemory(), byTenant(10)).store.Backend(), context.Background()},
		{"sampled", sampledOnly(b), tracing(sdktrace.AlwaysSample())},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.b.Get(c.ctx, absent)
			}
		})
	}
}

// sampledOnly makes spans and keeps none.
func sampledOnly(b *testing.B) storage.Backend {
	i, err := otel.New(newMemory(), otel.DefaultConfig(), wrappers.Settings{Store: "cities", Stage: "instrument",
		Tracer: sdktrace.NewTracerProvider(), Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))})
	if err != nil {
		b.Fatal(err)
	}
	return i
}
