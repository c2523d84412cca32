package otel

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// The scope of everything that is emitted here.
const scope = "github.com/plinthkv/plinth/otel"

// durationBounds are those that the semantic conventions advise for databases,
// in seconds, and finer ones below: a backend in memory answers in less than a
// microsecond.
var durationBounds = []float64{1e-6, 1e-5, 1e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}

// Backend makes a span and a duration of every call. It is safe for concurrent
// use.
type Backend struct {
	next     storage.Backend
	tracer   trace.Tracer // nil: no spans
	duration metric.Float64Histogram
	measures bool
	names    [operations]string
	spans    [operations]trace.SpanStartOption
	outcomes [operations][outcomes][]metric.RecordOption
}

// outcomes is one more than the highest code that has attributes of its own.
const outcomes = int(storage.Unauthenticated) + 1

// New puts the wrapper over next.
func New(next storage.Backend, c Config, s wrappers.Settings) (*Backend, error) {
	b := &Backend{next: next, measures: c.Metrics && s.Meter != nil}
	if c.Spans && s.Tracer != nil {
		b.tracer = s.Tracer.Tracer(scope)
	}
	if s.Meter == nil {
		s.Meter = noop.NewMeterProvider()
	}
	var err error
	b.duration, err = s.Meter.Meter(scope).Float64Histogram("db.client.operation.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of storage calls."),
		metric.WithExplicitBucketBoundaries(durationBounds...))
	if err != nil {
		return nil, fmt.Errorf("instrument: %w", err)
	}
	for op := range operations {
		name := operationNames[op]
		b.names[op] = name + " " + s.Store
		common := []attribute.KeyValue{
			attribute.String("db.system.name", next.Info().Name),
			attribute.String("db.namespace", s.Store),
			attribute.String("db.operation.name", name),
			attribute.String("plinth.stage", s.Stage),
		}
		b.spans[op] = trace.WithAttributes(common...)
		for code := range outcomes {
			outcome := storage.Code(code)
			set := append(common[:len(common):len(common)], attribute.String("plinth.outcome", outcome.String()))
			if !expected(outcome) {
				set = append(set, attribute.String("error.type", outcome.String()))
			}
			b.outcomes[op][code] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(set...))}
		}
	}
	return b, nil
}

// expected tells whether an outcome is an answer, not an error.
func expected(c storage.Code) bool {
	return c == storage.OK || c == storage.NotFound || c == storage.Conflict
}

// call is one that is going on.
type call struct {
	op    operation
	start time.Time
	span  trace.Span // nil: none
}

// begin costs two looks where nothing is recorded.
func (b *Backend) begin(ctx context.Context, op operation) (context.Context, call) {
	c := call{op: op}
	if b.tracer != nil && trace.SpanFromContext(ctx).IsRecording() {
		ctx, c.span = b.tracer.Start(ctx, b.names[op], trace.WithSpanKind(trace.SpanKindClient), b.spans[op])
	}
	if b.measures && b.duration.Enabled(ctx) {
		c.start = time.Now()
	}
	return ctx, c
}

func (b *Backend) end(ctx context.Context, c call, err error) {
	code := storage.CodeOf(err)
	if !c.start.IsZero() {
		known := code
		if int(known) >= outcomes {
			known = storage.Internal
		}
		b.duration.Record(ctx, time.Since(c.start).Seconds(), b.outcomes[c.op][known]...)
	}
	if c.span == nil {
		return
	}
	c.span.SetAttributes(attribute.String("plinth.outcome", code.String()))
	if !expected(code) {
		c.span.SetAttributes(attribute.String("error.type", code.String()))
		c.span.SetStatus(codes.Error, err.Error())
	}
	c.span.End()
}

// Get is recorded as get.
func (b *Backend) Get(ctx context.Context, key []byte) (it storage.Item, err error) {
	ctx, c := b.begin(ctx, opGet)
	defer func() { b.end(ctx, c, err) }()
	return b.next.Get(ctx, key)
}

// GetMany is recorded as get_many, with the number of keys.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) (items []storage.Item, err error) {
	ctx, c := b.begin(ctx, opGetMany)
	defer func() { b.end(ctx, c, err) }()
	c.count("db.operation.batch.size", len(keys))
	return b.next.GetMany(ctx, keys)
}

// Scan is recorded as scan, with the number of items.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (page storage.Page, err error) {
	ctx, c := b.begin(ctx, opScan)
	defer func() {
		c.count("db.response.returned_rows", len(page.Items))
		b.end(ctx, c, err)
	}()
	return b.next.Scan(ctx, q)
}

// Apply is recorded as what the application did: set, delete, compare_and_set,
// compare_and_delete, clear_range, or commit.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (version uint64, err error) {
	ctx, c := b.begin(ctx, operationOf(w))
	defer func() { b.end(ctx, c, err) }()
	c.count("db.operation.batch.size", len(w.Ops))
	return b.next.Apply(ctx, w)
}

// Health is recorded as health.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (h storage.Health, err error) {
	ctx, c := b.begin(ctx, opHealth)
	defer func() { b.end(ctx, c, err) }()
	return b.next.Health(ctx, p)
}

// Info is the next's.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close has nothing to close.
func (b *Backend) Close(context.Context) error { return nil }

func (c call) count(name string, n int) {
	if c.span != nil && n != 1 {
		c.span.SetAttributes(attribute.Int(name, n))
	}
}

var _ storage.Backend = (*Backend)(nil)
