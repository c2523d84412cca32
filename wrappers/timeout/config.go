package timeout

import (
	"errors"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the settings in YAML. If a single call's deadline is zero, Timeout applies to it.
type Config struct {
	Timeout time.Duration `yaml:"timeout"`  // deadline of every call without a deadline of its own below
	Get     time.Duration `yaml:"get"`      // deadline of a get; if zero, Timeout applies
	GetMany time.Duration `yaml:"get_many"` // deadline of a get of several keys; if zero, Timeout applies
	Scan    time.Duration `yaml:"scan"`     // deadline of one page; if zero, Timeout applies
	Changes time.Duration `yaml:"changes"`  // deadline of a page of changes, from the end of its wait; if zero, Timeout applies
	Apply   time.Duration `yaml:"apply"`    // deadline of a write; if zero, Timeout applies
	Health  time.Duration `yaml:"health"`   // deadline of a health check; if zero, Timeout applies
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{Timeout: 5 * time.Second} }

// Validate refuses what is no deadline.
func (c Config) Validate() error {
	var errs []error
	if c.Timeout <= 0 {
		errs = append(errs, wrappers.Fieldf("timeout", "must be positive (got %s)", c.Timeout))
	}
	for _, one := range []struct {
		path string
		d    time.Duration
	}{{"get", c.Get}, {"get_many", c.GetMany}, {"scan", c.Scan}, {"changes", c.Changes}, {"apply", c.Apply}, {"health", c.Health}} {
		if one.d < 0 {
			errs = append(errs, wrappers.Fieldf(one.path, "cannot be negative (got %s)", one.d))
		}
	}
	return errors.Join(errs...)
}

// Factory returns the factory of timeout stages.
func Factory() wrappers.Factory {
	d := wrappers.Declaration{
		Preserves: "everything",
		Weakens:   "a write that was cut off after it was sent has an unknown outcome",
	}
	return wrappers.NewFactory("timeout", d, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
