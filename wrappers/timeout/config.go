package timeout

import (
	"errors"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config is what YAML holds. A zero of a single call stands for Timeout.
type Config struct {
	Timeout time.Duration `yaml:"timeout"`  // of every call that has none of its own below
	Get     time.Duration `yaml:"get"`      // of a get
	GetMany time.Duration `yaml:"get_many"` // of a get of several keys
	Scan    time.Duration `yaml:"scan"`     // of one page
	Apply   time.Duration `yaml:"apply"`    // of a write
	Health  time.Duration `yaml:"health"`   // of a health check
}

// DefaultConfig is what stands where the configuration is silent.
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
	}{{"get", c.Get}, {"get_many", c.GetMany}, {"scan", c.Scan}, {"apply", c.Apply}, {"health", c.Health}} {
		if one.d < 0 {
			errs = append(errs, wrappers.Fieldf(one.path, "cannot be negative (got %s)", one.d))
		}
	}
	return errors.Join(errs...)
}

// Factory makes the wrappers of the kind timeout.
func Factory() wrappers.Factory {
	d := wrappers.Declaration{
		Preserves: "everything",
		Weakens:   "a write that is cut off after it was sent has an unknown outcome",
	}
	return wrappers.NewFactory("timeout", d, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
