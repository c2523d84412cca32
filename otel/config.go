package otel

import (
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config is what YAML holds.
type Config struct {
	Spans   bool `yaml:"spans"`   // make spans
	Metrics bool `yaml:"metrics"` // record durations
}

// DefaultConfig does both.
func DefaultConfig() Config { return Config{Spans: true, Metrics: true} }

// Providers are where spans and metrics go. Nil: nowhere.
type Providers struct {
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
}

func (p Providers) orNoop() Providers {
	if p.Tracer == nil {
		p.Tracer = tracenoop.NewTracerProvider()
	}
	if p.Meter == nil {
		p.Meter = metricnoop.NewMeterProvider()
	}
	return p
}

// Factory makes the wrappers of the kind instrument, with the providers of the
// program or service that embeds them.
func Factory(p Providers) wrappers.Factory {
	return wrappers.NewFactory("instrument", wrappers.Declaration{Preserves: "everything"}, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s, p)
		})
}
