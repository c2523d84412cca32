package carrier

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/plinthkv/plinth/internal/supervise"
)

// Attributes returns the attributes of telemetry about the backend of a store; an empty
// store is omitted.
func Attributes(plugin, store string) []attribute.KeyValue {
	own := []attribute.KeyValue{attribute.String("plinth.plugin", plugin)}
	if store != "" {
		own = append(own, attribute.String("db.namespace", store))
	}
	return own
}

// Observe reports the state of a backend's plugin, its restarts and its calls as metrics.
// stop ends it.
func Observe(p metric.MeterProvider, scope string, own []attribute.KeyValue, status func() supervise.Status, calls func() int64) (stop func() error, err error) {
	unstate, err := supervise.Measure(p, status, own...)
	if err != nil {
		return nil, err
	}
	m, with := p.Meter(scope), metric.WithAttributeSet(attribute.NewSet(own...))
	called, err1 := m.Int64ObservableCounter("plinth.instance.calls", metric.WithUnit("{call}"), metric.WithDescription("Requests sent into plugin instances."))
	restarts, err2 := m.Int64ObservableCounter("plinth.instance.restarts", metric.WithUnit("{restart}"), metric.WithDescription("Plugin instances that were started in the place of lost ones."))
	if err := errors.Join(err1, err2); err != nil {
		return nil, errors.Join(err, unstate())
	}
	registered, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(called, calls(), with)
		o.ObserveInt64(restarts, int64(status().Restarts), with)
		return nil
	}, called, restarts)
	if err != nil {
		return nil, errors.Join(err, unstate())
	}
	return func() error { return errors.Join(registered.Unregister(), unstate()) }, nil
}
