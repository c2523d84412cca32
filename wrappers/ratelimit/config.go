package ratelimit

import (
	"errors"
	"fmt"
	"math"

	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config is what YAML holds. A call costs a token for each op: a key that is
// read, an op or check of a write set, a page of a scan.
type Config struct {
	Rate  float64 `yaml:"rate"`  // tokens per second of each tenant
	Burst int     `yaml:"burst"` // tokens that a bucket holds; 0: as many as come in a second

	RowsPerToken  int `yaml:"rows_per_token"`        // items of a page that cost one more; 0: they cost nothing
	BytesPerToken int `yaml:"bytes_per_token,bytes"` // bytes of values, read, written or compared with, that cost one more; 0: they cost nothing

	Tenant     tenant.Config    `yaml:"tenant"`      // where in a key its tenant stands; none: one bucket for all
	Tenants    map[string]Quota `yaml:"tenants"`     // those that differ, by name
	MaxTenants int              `yaml:"max_tenants"` // buckets that are kept; further tenants share some
}

// Quota is what one tenant may do.
type Quota struct {
	Rate  float64 `yaml:"rate"`  // tokens per second
	Burst int     `yaml:"burst"` // tokens that its bucket holds; 0: as many as come in a second
}

// DefaultConfig is what stands where the configuration is silent. The rate has
// no default.
func DefaultConfig() Config {
	return Config{RowsPerToken: 100, BytesPerToken: 64 << 10, MaxTenants: 10_000}
}

// Validate refuses what no bucket can keep to.
func (c Config) Validate() error {
	errs := []error{Quota{c.Rate, c.Burst}.validate("")}
	for name, q := range c.Tenants {
		errs = append(errs, q.validate("tenants."+name+"."))
	}
	if len(c.Tenants) > 0 && !c.Tenant.Set() {
		errs = append(errs, wrappers.Fieldf("tenants", "there are none: tenant does not say where in a key they stand"))
	}
	for _, f := range []struct {
		path string
		n    int
	}{{"rows_per_token", c.RowsPerToken}, {"bytes_per_token", c.BytesPerToken}, {"max_tenants", c.MaxTenants}} {
		if f.n < 0 {
			errs = append(errs, wrappers.Fieldf(f.path, "cannot be negative (got %d)", f.n))
		}
	}
	return errors.Join(errs...)
}

func (q Quota) validate(at string) error {
	var errs []error
	if !(q.Rate > 0) || math.IsInf(q.Rate, 1) {
		errs = append(errs, wrappers.Fieldf(at+"rate", "must be above 0 tokens per second (got %v)", q.Rate))
	}
	if q.Burst < 0 {
		errs = append(errs, wrappers.Fieldf(at+"burst", "cannot be negative (got %d)", q.Burst))
	}
	return errors.Join(errs...)
}

func (q Quota) burst() int {
	if q.Burst == 0 {
		return max(1, int(min(math.Ceil(q.Rate), math.MaxInt32)))
	}
	return q.Burst
}

// Declare says what is refused.
func (c Config) Declare(_ wrappers.Below, d *wrappers.Declaration) {
	whose := "all callers together"
	if c.Tenant.Set() {
		whose = "each tenant"
	}
	d.Preserves = fmt.Sprintf("everything; %s has %v tokens a second, and %d at once", whose, c.Rate, Quota{c.Rate, c.Burst}.burst())
}

// Factory makes the wrappers of the kind rate_limit.
func Factory() wrappers.Factory {
	d := wrappers.Declaration{
		Preserves: "everything; of a call that is refused nothing was done",
		Never: []wrappers.Order{
			{Under: wrappers.Merges, Refuse: true, Why: "writes of several tenants arrive as one, so that one that is refused holds up the others"},
			{Under: wrappers.Repeats, Why: "a call that was refused comes again, and each attempt costs"},
		},
	}
	return wrappers.NewFactory("rate_limit", d, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
