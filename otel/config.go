package otel

import (
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

// Factory makes the wrappers of the kind instrument.
func Factory() wrappers.Factory {
	return wrappers.NewFactory("instrument", wrappers.Declaration{Preserves: "everything"}, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
