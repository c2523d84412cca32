package supervise

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Measure reports the state as the metric plinth.plugin.state: 1 for the current state of
// the plugin and 0 for the others, each with the attributes of the plugin. stop ends it.
func Measure(p metric.MeterProvider, status func() Status, own ...attribute.KeyValue) (stop func() error, err error) {
	m := p.Meter("github.com/plinthkv/plinth/host/supervise")
	gauge, err := m.Int64ObservableGauge("plinth.plugin.state", metric.WithUnit("{plugin}"),
		metric.WithDescription("The state of a plugin: 1 for the one that it is in, 0 for the others."))
	if err != nil {
		return nil, err
	}
	var with []metric.ObserveOption
	for _, s := range States() {
		with = append(with, metric.WithAttributeSet(attribute.NewSet(append(own[:len(own):len(own)], attribute.String("plinth.plugin.state", s.String()))...)))
	}
	registered, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := status().State
		for _, s := range States() {
			is := int64(0)
			if s == now {
				is = 1
			}
			o.ObserveInt64(gauge, is, with[s])
		}
		return nil
	}, gauge)
	if err != nil {
		return nil, err
	}
	return registered.Unregister, nil
}
