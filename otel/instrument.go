package otel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// The scope of everything that is emitted here.
const scope = "github.com/plinthkv/plinth/otel"

// durationBounds are those that the semantic conventions advise for databases,
// in seconds, and finer ones below: a backend in memory answers in less than a
// microsecond.
var durationBounds = []float64{1e-6, 1e-5, 1e-4, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10}

// Backend records a span and a duration of every call. It is safe for concurrent use.
type Backend struct {
	next     storage.Backend
	tracer   trace.Tracer // nil means no spans
	duration metric.Float64Histogram
	expiring metric.Int64Counter
	measures bool
	names    [operations]string
	common   [operations][]attribute.KeyValue
	spans    [operations]trace.SpanStartOption
	tenant   tenant.Config
	byTenant bool
	tenants  *tenants
}

// New returns a Backend over next.
func New(next storage.Backend, c Config, s wrappers.Settings) (*Backend, error) {
	b := &Backend{next: next, measures: c.Metrics && s.Meter != nil, tenant: c.Tenant.Config, byTenant: c.Tenant.Set()}
	if c.Spans && s.Tracer != nil {
		b.tracer = s.Tracer.Tracer(scope)
	}
	if s.Meter == nil {
		s.Meter = noop.NewMeterProvider()
	}
	meter := s.Meter.Meter(scope)
	var errs [2]error
	b.duration, errs[0] = meter.Float64Histogram("db.client.operation.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of storage calls."),
		metric.WithExplicitBucketBoundaries(durationBounds...))
	b.expiring, errs[1] = meter.Int64Counter("plinth.ttl.operations",
		metric.WithUnit("{operation}"), metric.WithDescription("Write sets that gave an item a time to live."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("instrument: %w", err)
	}
	for op := range operations {
		name := operationNames[op]
		b.names[op] = name + " " + s.Store
		b.common[op] = []attribute.KeyValue{
			attribute.String("db.system.name", next.Info().Name),
			attribute.String("db.namespace", s.Store),
			attribute.String("db.operation.name", name),
			attribute.String("plinth.stage", s.Stage),
		}
		b.spans[op] = trace.WithAttributes(b.common[op]...)
	}
	b.tenants = newTenants(&b.common, c.Tenant.Max)
	return b, nil
}

// expected reports whether an outcome is an answer, not an error.
func expected(c storage.Code) bool {
	return c == storage.OK || c == storage.NotFound || c == storage.Conflict
}

// call holds a call that is under way.
type call struct {
	op     operation
	start  time.Time
	labels *labels
	span   trace.Span // nil if none
}

// idle reports whether nothing of a call of ctx is recorded: then it costs no more
// than this look.
func (b *Backend) idle(ctx context.Context) bool {
	return !b.measures && (b.tracer == nil || !trace.SpanFromContext(ctx).IsRecording())
}

// begin starts what is recorded of a call.
func (b *Backend) begin(ctx context.Context, op operation) (context.Context, call) {
	c := call{op: op, labels: b.tenants.none}
	if b.tracer != nil && trace.SpanFromContext(ctx).IsRecording() {
		ctx, c.span = b.tracer.Start(ctx, b.names[op], trace.WithSpanKind(trace.SpanKindClient), b.spans[op])
	}
	if b.measures && b.duration.Enabled(ctx) {
		c.start = time.Now()
	}
	return ctx, c
}

// asks reports whether it matters whose call c is.
func (b *Backend) asks(c *call) bool {
	return b.byTenant && (c.span != nil || !c.start.IsZero())
}

func (b *Backend) end(ctx context.Context, c *call, err error) {
	code := storage.CodeOf(err)
	if !c.start.IsZero() {
		b.duration.Record(ctx, time.Since(c.start).Seconds(), c.labels.of(c.op, code)...)
	}
	if c.span == nil {
		return
	}
	if c.labels.tenant != "" {
		c.span.SetAttributes(attribute.String("plinth.tenant", c.labels.tenant))
	}
	c.span.SetAttributes(attribute.String("plinth.outcome", code.Name()))
	if !expected(code) {
		c.span.SetAttributes(attribute.String("error.type", code.Name()))
		c.span.SetStatus(codes.Error, err.Error())
	}
	c.span.End()
}

// Get records the operation get.
func (b *Backend) Get(ctx context.Context, key []byte) (it storage.Item, err error) {
	if b.idle(ctx) {
		return b.next.Get(ctx, key)
	}
	ctx, c := b.begin(ctx, opGet)
	defer func() { b.end(ctx, &c, err) }()
	if b.asks(&c) {
		c.labels = b.ofKey(key)
	}
	return b.next.Get(ctx, key)
}

// GetMany records the operation get_many, with the number of keys.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) (items []storage.Item, err error) {
	if b.idle(ctx) {
		return b.next.GetMany(ctx, keys)
	}
	ctx, c := b.begin(ctx, opGetMany)
	defer func() { b.end(ctx, &c, err) }()
	if b.asks(&c) {
		c.labels = b.ofKeys(keys)
	}
	c.batch(len(keys))
	return b.next.GetMany(ctx, keys)
}

// Scan records the operation scan, with the number of items.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (page storage.Page, err error) {
	if b.idle(ctx) {
		return b.next.Scan(ctx, q)
	}
	ctx, c := b.begin(ctx, opScan)
	defer func() {
		c.count("db.response.returned_rows", len(page.Items))
		b.end(ctx, &c, err)
	}()
	if b.asks(&c) {
		c.labels = b.ofRange(q.Start, q.End)
	}
	return b.next.Scan(ctx, q)
}

// Changes records the call as changes, with the number of changes. Its duration includes the
// wait.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (page storage.ChangePage, err error) {
	if b.idle(ctx) {
		return b.next.Changes(ctx, q)
	}
	ctx, c := b.begin(ctx, opChanges)
	defer func() {
		c.count("db.response.returned_rows", len(page.Changes))
		b.end(ctx, &c, err)
	}()
	if b.asks(&c) {
		c.labels = b.ofRange(q.Start, q.End)
	}
	return b.next.Changes(ctx, q)
}

// Apply records the application's operation: set, delete, compare_and_set,
// compare_and_delete, clear_range, or commit.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (version uint64, err error) {
	if b.idle(ctx) {
		return b.next.Apply(ctx, w)
	}
	ctx, c := b.begin(ctx, operationOf(w))
	defer func() { b.end(ctx, &c, err) }()
	if b.asks(&c) {
		c.labels = b.ofWrites(w)
	}
	if !c.start.IsZero() && expires(w) {
		b.expiring.Add(ctx, 1, c.labels.expiring()...)
	}
	c.batch(len(w.Ops))
	return b.next.Apply(ctx, w)
}

// Health records the operation health. An unhealthy result is an error, as is a failed
// check.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (h storage.Health, err error) {
	if b.idle(ctx) {
		return b.next.Health(ctx, p)
	}
	ctx, c := b.begin(ctx, opHealth)
	defer func() {
		told := err
		if err == nil && h.Status == storage.Unhealthy {
			told = &storage.Error{Code: storage.Unavailable, Msg: h.Reason}
		}
		b.end(ctx, &c, told)
	}()
	return b.next.Health(ctx, p)
}

// Info returns the next backend's info.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close does nothing.
func (b *Backend) Close(context.Context) error { return nil }

// batch notes how many keys or ops a call has. By the conventions one is no batch.
func (c *call) batch(n int) {
	if n > 1 {
		c.count("db.operation.batch.size", n)
	}
}

func (c *call) count(name string, n int) {
	if c.span != nil {
		c.span.SetAttributes(attribute.Int(name, n))
	}
}

// expires reports whether a write set gives an item a time to live.
func expires(w *storage.WriteSet) bool {
	for i := range w.Ops {
		if !w.Ops[i].ExpiresAt.IsZero() {
			return true
		}
	}
	return false
}

var _ storage.Backend = (*Backend)(nil)
