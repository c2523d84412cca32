package retry

import (
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config is what YAML holds.
type Config struct {
	Attempts  int           `yaml:"attempts"`   // of a call, the first included
	BaseDelay time.Duration `yaml:"base_delay"` // the longest wait before the second; it doubles each time
	MaxDelay  time.Duration `yaml:"max_delay"`  // and is never longer than this
	Deadline  time.Duration `yaml:"deadline"`   // after the first attempt no other begins; 0: only the caller's
	// Unknown is how long a write of unknown outcome is made again, over a backend
	// that is idempotent; 0: not at all. It is less where the backend remembers IDs
	// for less, or so few that 50,000 writes a second would have it forget them.
	Unknown time.Duration `yaml:"unknown"`
}

// DefaultConfig is what stands where the configuration is silent.
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

// identifies tells whether writes get an ID.
func (c Config) identifies(below storage.Info) bool {
	return c.Unknown > 0 && below.Caps.Has(storage.CapIdempotent)
}

// Factory makes the wrappers of the kind retry.
func Factory() wrappers.Factory {
	d := wrappers.Declaration{
		Does:      wrappers.Repeats,
		Preserves: "everything; a write is applied once at most",
		Never: []wrappers.Order{{Under: wrappers.Repeats,
			Why: "each attempt of the one above makes all attempts of this one"}},
	}
	return wrappers.NewFactory("retry", d, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
