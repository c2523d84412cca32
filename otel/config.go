package otel

import (
	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the settings in YAML.
type Config struct {
	Spans   bool   `yaml:"spans"`   // create spans
	Metrics bool   `yaml:"metrics"` // record durations
	Tenant  Tenant `yaml:"tenant"`  // position of the tenant in a key, for a label of metrics; by default metrics have no such label
}

// Tenant configures the label of a call's tenant.
type Tenant struct {
	tenant.Config `yaml:",inline"`
	// Maximum number of tenants with a label of their own: the first that are seen. All others
	// are "_other".
	Max int `yaml:"max"`
}

// DefaultConfig enables spans and metrics, without a label for tenants.
func DefaultConfig() Config { return Config{Spans: true, Metrics: true, Tenant: Tenant{Max: 100}} }

// maxTenants bounds Tenant.Max: every tenant is a set of time series.
const maxTenants = 10_000

// Validate returns an error for each invalid setting.
func (c Config) Validate() error {
	if c.Tenant.Max < 0 || c.Tenant.Max > maxTenants {
		return wrappers.Fieldf("tenant.max", "want 0 to %d", maxTenants)
	}
	return nil
}

// Factory returns the factory of instrument stages.
func Factory() wrappers.Factory {
	return wrappers.NewFactory("instrument", wrappers.Declaration{Preserves: "everything"}, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
