package ratelimit

import (
	"errors"
	"fmt"
	"math"

	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the settings in YAML. A call costs one token per op: each key read, each op
// or check of a write set, each page of a scan.
type Config struct {
	Rate  float64 `yaml:"rate"`  // tokens per second of each tenant
	Burst int     `yaml:"burst"` // capacity of a bucket in tokens; if zero, the tokens of one second

	RowsPerToken  int `yaml:"rows_per_token"`        // items of a page per additional token; if zero, items are free
	BytesPerToken int `yaml:"bytes_per_token,bytes"` // bytes of values (read, written or compared) per additional token; if zero, bytes are free

	Tenant     tenant.Config    `yaml:"tenant"`      // position of the tenant in a key; by default all calls share one bucket
	Tenants    map[string]Quota `yaml:"tenants"`     // quotas of tenants that differ, by name of the tenant
	MaxTenants int              `yaml:"max_tenants"` // maximum number of tenants with a bucket of their own; further tenants share buckets
}

// Quota limits what one tenant may do.
type Quota struct {
	Rate  float64 `yaml:"rate"`  // tokens per second
	Burst int     `yaml:"burst"` // capacity of its bucket in tokens; if zero, the tokens of one second
}

// DefaultConfig returns the defaults. The rate has
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
		errs = append(errs, wrappers.Fieldf("tenants", "requires tenant, the position of the tenant in a key"))
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

// Factory returns the factory of rate_limit stages.
func Factory() wrappers.Factory {
	d := wrappers.Declaration{
		Preserves: "everything; a refused call has no effect",
		Never: []wrappers.Order{
			{Under: wrappers.Merges, Refuse: true, Why: "writes of several tenants arrive as one, so a refused tenant delays the others"},
			{Under: wrappers.Repeats, Why: "refused calls are repeated, and each attempt costs tokens"},
		},
	}
	return wrappers.NewFactory("rate_limit", d, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
