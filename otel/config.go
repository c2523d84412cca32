package otel

import (
	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config is what YAML holds.
type Config struct {
	Spans   bool   `yaml:"spans"`   // make spans
	Metrics bool   `yaml:"metrics"` // record durations
	Tenant  Tenant `yaml:"tenant"`  // by which calls are told apart; empty: not at all
}

// Tenant is how calls are told apart by tenant.
type Tenant struct {
	tenant.Config `yaml:",inline"`
	// Max is how many tenants have a label of their own: the first that are seen.
	// All others are "_other".
	Max int `yaml:"max"`
}

// DefaultConfig does both, for all tenants together.
func DefaultConfig() Config { return Config{Spans: true, Metrics: true, Tenant: Tenant{Max: 100}} }

// maxTenants bounds Tenant.Max: every tenant is a set of time series.
const maxTenants = 10_000

// Validate tells what cannot be.
func (c Config) Validate() error {
	if c.Tenant.Max < 0 || c.Tenant.Max > maxTenants {
		return wrappers.Fieldf("tenant.max", "want 0 to %d", maxTenants)
	}
	return nil
}

// Factory makes the wrappers of the kind instrument.
func Factory() wrappers.Factory {
	return wrappers.NewFactory("instrument", wrappers.Declaration{Preserves: "everything"}, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
