package retry

import (
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the settings in YAML.
type Config struct {
	Attempts  int           `yaml:"attempts"`   // maximum number of attempts per call, including the first
	BaseDelay time.Duration `yaml:"base_delay"` // upper bound of the delay before the second attempt; it doubles with each attempt
	MaxDelay  time.Duration `yaml:"max_delay"`  // upper bound of every delay
	Deadline  time.Duration `yaml:"deadline"`   // time from the first attempt after which no other begins; if zero, only the caller's deadline applies
	// How long a write of unknown outcome is retried over an idempotent backend. If zero, it is
	// not retried. The time is shorter if the backend remembers IDs for less, or remembers so
	// few that it would forget them sooner at 50,000 writes a second.
	Unknown time.Duration `yaml:"unknown"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Attempts: 5, BaseDelay: 50 * time.Millisecond, MaxDelay: 2 * time.Second, Deadline: 10 * time.Second, Unknown: time.Second}
}

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	var errs []error
	if c.Attempts < 2 {
		errs = append(errs, wrappers.Fieldf("attempts", "must be at least 2, the first included (got %d)", c.Attempts))
	}
	if c.BaseDelay <= 0 {
		errs = append(errs, wrappers.Fieldf("base_delay", "must be positive (got %s)", c.BaseDelay))
	}
	if c.MaxDelay < c.BaseDelay {
		errs = append(errs, wrappers.Fieldf("max_delay", "%s is shorter than base_delay (%s)", c.MaxDelay, c.BaseDelay))
	}
	if c.Deadline < 0 {
		errs = append(errs, wrappers.Fieldf("deadline", "cannot be negative (got %s)", c.Deadline))
	}
	if c.Unknown < 0 {
		errs = append(errs, wrappers.Fieldf("unknown", "cannot be negative (got %s)", c.Unknown))
	}
	return errors.Join(errs...)
}

// Declare says what is repeated, which depends on what is below.
func (c Config) Declare(b wrappers.Below, d *wrappers.Declaration) {
	how := fmt.Sprintf("reads, and writes that were certainly not applied, up to %d attempts within %s", c.Attempts, c.Deadline)
	if c.Deadline == 0 {
		how = fmt.Sprintf("reads, and writes that were certainly not applied, up to %d attempts", c.Attempts)
	}
	if c.identifies(b.Info) {
		d.Does |= wrappers.Identifies
		how += fmt.Sprintf("; writes of unknown outcome for %s, under one ID", c.Unknown)
	} else {
		how += "; never a write of unknown outcome"
	}
	d.Changes = append(d.Changes, wrappers.Change{Of: wrappers.Repetition, How: how})
}

// identifies reports whether writes get an ID.
func (c Config) identifies(below storage.Info) bool {
	return c.Unknown > 0 && below.Caps.Has(storage.CapIdempotent)
}

// Factory returns the factory of retry stages.
func Factory() wrappers.Factory {
	d := wrappers.Declaration{
		Does:      wrappers.Repeats,
		Preserves: "everything; a write is applied at most once",
		Never: []wrappers.Order{{Under: wrappers.Repeats,
			Why: "each attempt of the outer stage makes all attempts of the inner one"}},
	}
	return wrappers.NewFactory("retry", d, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
