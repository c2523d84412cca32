package wasmhost_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// traced is a Go guest whose calls are recorded.
type traced struct {
	b      *wasmhost.Backend
	log    *spanLog
	ended  *tracetest.SpanRecorder
	tracer trace.Tracer
}

// spanLog notes under which span each record was made. A record at its gate waits.
type spanLog struct {
	mu   sync.Mutex
	seen []string // message and span
	gate chan struct{}
	at   chan struct{}
}

func (l *spanLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *spanLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *spanLog) WithGroup(string) slog.Handler            { return l }
func (l *spanLog) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	l.seen = append(l.seen, r.Message+" "+trace.SpanContextFromContext(ctx).SpanID().String())
	first := len(l.seen) == 1
	l.mu.Unlock()
	if first && l.gate != nil {
		l.at <- struct{}{}
		<-l.gate
	}
	return nil
}

func newTraced(t *testing.T) *traced {
	t.Helper()
	tr := &traced{log: &spanLog{}, ended: tracetest.NewSpanRecorder()}
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(tr.ended))
	tr.tracer = p.Tracer("test")
	m, _ := goGuest(t, wasmhost.Options{Tracer: p, Log: slog.New(tr.log)})
	tr.b = openModule(t, m, "")
	tr.log.seen = nil
	return tr
}

// spans are those of calls that have ended, by their ids.
func (tr *traced) spans() map[string]sdktrace.ReadOnlySpan {
	out := map[string]sdktrace.ReadOnlySpan{}
	for _, s := range tr.ended.Ended() {
		if s.InstrumentationScope().Name != "test" {
			out[s.SpanContext().SpanID().String()] = s
		}
	}
	return out
}

// A call has a span under its caller's, the guest is given it, and what the guest logs
// is found under it.
func TestSpanOfACall(t *testing.T) {
	tr := newTraced(t)
	state, err := trace.ParseTraceState("vendor=1,other=2")
	if err != nil {
		t.Fatal(err)
	}
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true})
	ctx, parent := tr.tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), remote), "caller")
	it, err := tr.b.Get(ctx, []byte("trace"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.b.Get(ctx, []byte("log")); err != nil {
		t.Fatal(err)
	}
	parent.End()
	ended := tr.ended.Ended()
	if len(ended) != 3 {
		t.Fatalf("%d spans", len(ended))
	}
	for _, s := range ended[:2] {
		if s.Name() != "plinth.wasm get" || s.Parent().SpanID() != parent.SpanContext().SpanID() || !slices.Contains(s.Attributes(), attribute.String("plinth.plugin", "go")) {
			t.Errorf("%s under %s, %v", s.Name(), s.Parent().SpanID(), s.Attributes())
		}
	}
	sc := ended[0].SpanContext()
	if want := fmt.Sprintf("00-%s-%s-01 vendor=1,other=2", sc.TraceID(), sc.SpanID()); string(it.Value) != want {
		t.Errorf("the guest was told %q, want %q", it.Value, want)
	}
	id := ended[1].SpanContext().SpanID().String()
	if want := []string{"hello " + id, "details " + id}; !slices.Equal(tr.log.seen, want) {
		t.Errorf("the log has %q, want %q", tr.log.seen, want)
	}
}

// A guest cannot say that a record belongs to another trace: what it claims is
// only taken to choose among the calls that run.
func TestForgedSpan(t *testing.T) {
	m, log := goGuest(t, wasmhost.Options{})
	b := openModule(t, m, "")
	log.take()
	get(b, "forge")
	log.expect(t, "INFO forged plugin=go a=1")
}

// Calls that are not recorded have no span, and the guest is given none: not even that
// of the call before.
func TestNoSpan(t *testing.T) {
	tr := newTraced(t)
	ctx, parent := tr.tracer.Start(context.Background(), "caller")
	tr.b.Get(ctx, []byte("trace"))
	parent.End()
	before := len(tr.ended.Ended())
	never, _ := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("").Start(context.Background(), "caller")
	for _, ctx := range []context.Context{context.Background(), never} {
		if it, err := tr.b.Get(ctx, []byte("trace")); err != nil || string(it.Value) != " " {
			t.Errorf("the guest was told %q, %v", it.Value, err)
		}
	}
	tr.b.Get(context.Background(), []byte("log"))
	if n := len(tr.ended.Ended()); n != before || tr.log.seen[0] != "hello 0000000000000000" {
		t.Errorf("%d spans more, %q", n-before, tr.log.seen)
	}
}

// Requests that are sent together keep their own spans, and so do the records
// that the guest makes while it answers them.
func TestSpansOfCombinedCalls(t *testing.T) {
	tr := newTraced(t)
	tr.log.gate, tr.log.at = make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { tr.b.Get(context.Background(), []byte("log")) })
	<-tr.log.at
	parents := map[string]bool{}
	for i := range 3 {
		ctx, parent := tr.tracer.Start(context.Background(), "caller")
		parents[parent.SpanContext().SpanID().String()] = true
		all.Go(func() {
			tr.b.Get(ctx, []byte("log"))
			parent.End()
		})
		for tr.b.Waiting() <= i {
			time.Sleep(100 * time.Microsecond)
		}
	}
	close(tr.log.gate)
	all.Wait()
	spans := tr.spans()
	for id, s := range spans {
		if !slices.Contains(s.Attributes(), attribute.Int("plinth.wasm.combined", 3)) || !parents[s.Parent().SpanID().String()] {
			t.Errorf("%s: %v", id, s.Attributes())
		}
		delete(parents, s.Parent().SpanID().String())
		if n := len(slices.DeleteFunc(slices.Clone(tr.log.seen), func(r string) bool { return r != "hello "+id })); n != 1 {
			t.Errorf("%d records under %s in %q", n, id, tr.log.seen)
		}
	}
	if len(spans) != 3 || len(parents) != 0 {
		t.Errorf("%d spans, without one: %v", len(spans), parents)
	}
}

// A guest that fails is an error in the span of every call that was lost with it.
func TestSpanOfAFailure(t *testing.T) {
	tr := newTraced(t)
	ctx, parent := tr.tracer.Start(context.Background(), "caller")
	tr.b.Get(ctx, []byte("exit"))
	tr.b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), nil)}})
	parent.End()
	spans := tr.ended.Ended()
	for i, name := range []string{"plinth.wasm get", "plinth.wasm apply"} {
		if s := spans[i]; s.Name() != name || s.Status().Code != codes.Error || !slices.Contains(s.Attributes(), attribute.String("error.type", "unavailable")) {
			t.Errorf("%s: %v %v", s.Name(), s.Status(), s.Attributes())
		}
	}
}

// What instances do is counted, by plugin and store.
func TestMeters(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	m := load(t, newRuntime(t), committed(t, "hostile"), wasmhost.Options{Name: "acme", Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		Memory: 4 << 20, Log: slog.New(slog.DiscardHandler), OnLoss: wasmhost.RestartOnLoss})
	b, err := m.OpenFor(context.Background(), "cities", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		get(b, "absent")
	}
	apply(t, b, storage.Put([]byte("k"), []byte("v")))
	got := points(t, reader)
	for name, want := range map[string]int64{"plinth.instance.calls": 11, "plinth.instance.memory.limit": 4 << 20, "plinth.instance.restarts": 0,
		"plinth.instance.count ready": 1, "plinth.instance.count lost": 0} {
		if got[name] != want {
			t.Errorf("%s is %d, want %d", name, got[name], want)
		}
	}
	if n := got["plinth.instance.memory.usage"]; n < 64<<10 || n > 4<<20 {
		t.Errorf("memory is %d", n)
	}
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := points(t, reader); len(got) != 0 {
		t.Errorf("closed, there is %v", got)
	}
}

// A call that waits is measured; one that does not is not.
func TestQueueWait(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	c := newCrowd(t, "", wasmhost.Options{Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	get(c.b, "absent")
	if got := points(t, reader)["plinth.instance.queue.wait"]; got != 0 {
		t.Errorf("%d waited before any call did", got)
	}
	c.enter(context.Background())
	for range 3 {
		c.queue(func() { get(c.b, "absent") })
	}
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	if got := points(t, reader)["plinth.instance.queue.wait"]; got != 3 {
		t.Errorf("%d waited, want 3", got)
	}
}

// points are the values of all metrics, and of histograms the counts.
func points(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					name := m.Name
					if state, ok := p.Attributes.Value("plinth.instance.state"); ok {
						name += " " + state.AsString()
					}
					if plugin, _ := p.Attributes.Value("plinth.plugin"); plugin.AsString() == "" {
						t.Errorf("%s is of no plugin", name)
					}
					out[name] += p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					out[m.Name] += int64(p.Count)
				}
			}
		}
	}
	return out
}

// Being counted costs a get nothing that it would have to allocate.
func TestMeteredGetAllocatesItsValueAlone(t *testing.T) {
	b := openGuest(t, "kv", "", wasmhost.Options{Name: "kv", Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
		Tracer: sdktrace.NewTracerProvider()})
	apply(t, b, storage.Put([]byte("k"), []byte("value")))
	ctx, key := context.Background(), []byte("k")
	if n := testing.AllocsPerRun(1000, func() { b.Get(ctx, key) }); n != 1 {
		t.Errorf("%.0f allocations, want the value's", n)
	}
}

// An instance that is lost is counted as such, and has no memory, until another
// is in its place.
func TestLossIsCounted(t *testing.T) {
	for name, c := range map[string]struct {
		onLoss                wasmhost.OnLoss
		ready, lost, restarts int64
	}{
		"fails":    {wasmhost.FailOnLoss, 0, 1, 0},
		"restarts": {wasmhost.RestartOnLoss, 1, 0, 1},
	} {
		reader := sdkmetric.NewManualReader()
		o := hostileOptions
		o.OnLoss, o.Call, o.Meter = c.onLoss, time.Minute, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		b := openGuest(t, "hostile", "", o)
		trap(t, b)
		if got := points(t, reader); got["plinth.instance.count lost"] != 1 || got["plinth.instance.memory.usage"] != 0 {
			t.Errorf("%s: once it is lost there is %v", name, got)
		}
		get(b, "absent")
		got := points(t, reader)
		if got["plinth.instance.count ready"] != c.ready || got["plinth.instance.count lost"] != c.lost || got["plinth.instance.restarts"] != c.restarts ||
			(got["plinth.instance.memory.usage"] > 0) != (c.ready > 0) {
			t.Errorf("%s: then there is %v", name, got)
		}
	}
}
