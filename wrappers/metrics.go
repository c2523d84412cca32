package wrappers

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
)

// scope is the instrumentation scope of what wrappers count.
const scope = "github.com/plinthkv/plinth/wrappers"

// Counter counts events of a stage. Its attributes (db.namespace, plinth.stage
// and its own) are built once, so adding to it allocates nothing. The zero
// value counts nothing. It is safe for concurrent use.
type Counter struct {
	counter metric.Int64Counter
	with    []metric.AddOption
}

// Add adds n.
func (c Counter) Add(n int64) {
	if c.counter != nil {
		c.counter.Add(context.Background(), n, c.with...)
	}
}

// Histogram records sizes of a stage's events. Like a Counter, it allocates
// nothing, and its zero value records nothing.
type Histogram struct {
	histogram metric.Int64Histogram
	with      []metric.RecordOption
}

// Record adds one value.
func (h Histogram) Record(v int64) {
	if h.histogram != nil {
		h.histogram.Record(context.Background(), v, h.with...)
	}
}

// Counter returns a counter of the stage, named as OpenTelemetry names metrics:
// "plinth.cache.lookups", in units like "{lookup}".
func (s Settings) Counter(name, unit, description string, own ...attribute.KeyValue) (Counter, error) {
	c, err := s.meter().Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	return Counter{c, []metric.AddOption{s.attributes(own)}}, err
}

// Histogram returns a histogram of the stage with the given bounds.
func (s Settings) Histogram(name, unit, description string, bounds []float64, own ...attribute.KeyValue) (Histogram, error) {
	h, err := s.meter().Int64Histogram(name, metric.WithUnit(unit), metric.WithDescription(description),
		metric.WithExplicitBucketBoundaries(bounds...))
	return Histogram{h, []metric.RecordOption{s.attributes(own)}}, err
}

// Gauge registers a value of the stage, which is read whenever metrics are collected, until
// stop is called.
func (s Settings) Gauge(name, unit, description string, value func() int64, own ...attribute.KeyValue) (stop func(), err error) {
	m := s.meter()
	g, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	if err != nil {
		return func() {}, err
	}
	with := s.attributes(own)
	registration, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(g, value(), with)
		return nil
	}, g)
	if err != nil {
		return func() {}, err
	}
	return func() { _ = registration.Unregister() }, nil
}

// Total registers a count that the stage keeps itself, which is read whenever metrics are
// collected, until stop is called. Use it for events that are too frequent for a Counter.
func (s Settings) Total(name, unit, description string, value func() int64, own ...attribute.KeyValue) (stop func(), err error) {
	m := s.meter()
	c, err := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	if err != nil {
		return func() {}, err
	}
	with := s.attributes(own)
	registration, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(c, value(), with)
		return nil
	}, c)
	if err != nil {
		return func() {}, err
	}
	return func() { _ = registration.Unregister() }, nil
}

func (s Settings) meter() metric.Meter {
	if s.Meter == nil {
		return metricnoop.Meter{}
	}
	return s.Meter.Meter(scope)
}

func (s Settings) attributes(own []attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append([]attribute.KeyValue{
		attribute.String("db.namespace", s.Store), attribute.String("plinth.stage", s.Stage)}, own...)...))
}
