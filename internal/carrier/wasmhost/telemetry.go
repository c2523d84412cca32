package wasmhost

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/plinthkv/plinth/internal/carrier"
)

// scope is the instrumentation scope of what the carrier emits: dashboards know it by
// this name.
const scope = "github.com/plinthkv/plinth/host/wasmhost"

// traced reports whether calls with ctx have a trace context for the guest.
func (m *Module) traced(ctx context.Context) bool {
	if m.opts.TraceContext == nil {
		return m.spans.On(ctx)
	}
	traceparent, _ := m.opts.TraceContext(ctx)
	return traceparent != ""
}

// combined notes in each span with how many others its request was sent.
func combined(batch []*request) {
	if len(batch) < 2 {
		return
	}
	for _, r := range batch {
		r.span.Set(attribute.Int("plinth.wasm.combined", len(batch)))
	}
}

// counts are a slot's counters for metrics. The holder of the slot writes them, any
// goroutine may read them.
type counts struct {
	calls  atomic.Uint64
	memory atomic.Uint64 // bytes of linear memory, as last looked at
}

// called counts n requests, and measures the memory: always if that is cheap compared with
// the call, else now and then.
func (s *slot) called(n int, always bool) {
	calls := s.counts.calls.Load() + uint64(n)
	s.counts.calls.Store(calls)
	if always || calls&63 == 1 {
		s.counts.memory.Store(uint64(s.in.guest.Memory().Size()))
	}
}

// meters are the instruments of a backend.
type meters struct {
	wait metric.Float64Histogram
	with []metric.RecordOption
	stop func() error
}

// waitBounds are finer than those of other durations: a call into a guest takes
// less than a microsecond.
var waitBounds = []float64{1e-6, 1e-5, 1e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}

// meter has what the slots count observed. A nil provider: nothing is counted.
func (b *Backend) meter(p metric.MeterProvider, store string) (err error) {
	if p == nil {
		return nil
	}
	own := carrier.Attributes(b.m.opts.Name, store)
	with := metric.WithAttributeSet(attribute.NewSet(own...))
	ready := metric.WithAttributeSet(attribute.NewSet(append(own[:len(own):len(own)], attribute.String("plinth.instance.state", "ready"))...))
	lost := metric.WithAttributeSet(attribute.NewSet(append(own[:len(own):len(own)], attribute.String("plinth.instance.state", "lost"))...))
	var errs firstError
	m := p.Meter(scope)
	meters := &meters{with: []metric.RecordOption{with}}
	meters.wait, err = m.Float64Histogram("plinth.instance.queue.wait", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(waitBounds...),
		metric.WithDescription("Time that calls waited for a busy plugin instance; those that did not wait are not counted."))
	errs.keep(err)
	memory, err := m.Int64ObservableUpDownCounter("plinth.instance.memory.usage", metric.WithUnit("By"), metric.WithDescription("Linear memory that plugin instances have taken."))
	errs.keep(err)
	limit, err := m.Int64ObservableUpDownCounter("plinth.instance.memory.limit", metric.WithUnit("By"), metric.WithDescription("Linear memory that plugin instances may take."))
	errs.keep(err)
	number, err := m.Int64ObservableUpDownCounter("plinth.instance.count", metric.WithUnit("{instance}"), metric.WithDescription("Plugin instances, running and lost."))
	errs.keep(err)
	if errs.error != nil {
		return errs.error
	}
	registered, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		var taken, there int64
		for _, s := range b.slots {
			if !s.down.Load() {
				there++
				taken += int64(s.counts.memory.Load())
			}
		}
		o.ObserveInt64(memory, taken, with)
		o.ObserveInt64(limit, int64(len(b.slots))*int64(b.m.opts.Memory), with)
		o.ObserveInt64(number, there, ready)
		o.ObserveInt64(number, int64(len(b.slots))-there, lost)
		return nil
	}, memory, limit, number)
	if err != nil {
		return err
	}
	stopState, err := carrier.Observe(p, scope, own, b.Status, b.called)
	if err != nil {
		return errors.Join(err, registered.Unregister())
	}
	stopLog, err := b.m.logged.Measure(p, b.m.attributes...)
	if err != nil {
		return errors.Join(err, registered.Unregister(), stopState())
	}
	meters.stop = func() error { return errors.Join(registered.Unregister(), stopState(), stopLog()) }
	b.meters = meters
	for _, s := range b.slots {
		s.counts = new(counts)
		s.counts.memory.Store(uint64(s.in.guest.Memory().Size()))
	}
	return nil
}

// called returns how many requests were sent into the instances.
func (b *Backend) called() (n int64) {
	for _, s := range b.slots {
		n += int64(s.counts.calls.Load())
	}
	return n
}

type firstError struct{ error }

func (f *firstError) keep(err error) {
	if f.error == nil {
		f.error = err
	}
}

// waited records how long a call stood in the queue.
func (m *meters) waited(ctx context.Context, since time.Time) {
	m.wait.Record(ctx, time.Since(since).Seconds(), m.with...)
}
