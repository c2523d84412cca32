package circuitbreaker

import (
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the settings in YAML. The circuit opens after Failures failures in a row or,
// if FailureRate is set, when that share of the latest calls failed.
type Config struct {
	Failures    int           `yaml:"failures"`     // failures in a row that open the circuit
	FailureRate float64       `yaml:"failure_rate"` // opens the circuit by the share of failed calls within Window instead, from 0 to 1; if zero, it is not used
	Window      time.Duration `yaml:"window"`       // for FailureRate: the time in which calls count
	MinCalls    int           `yaml:"min_calls"`    // for FailureRate: the minimum of calls within Window that can open the circuit
	Delay       time.Duration `yaml:"delay"`        // how long the circuit stays open, plus or minus a tenth
	Trials      int           `yaml:"trials"`       // calls in a row that must then succeed to close it
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Failures: 5, Window: 10 * time.Second, MinCalls: 20, Delay: 10 * time.Second, Trials: 1}
}

// maxDelay keeps a delay and what it is given or taken far from the largest
// number, beyond which a circuit would not open at all.
const maxDelay = 24 * time.Hour

// Validate refuses what cannot be counted.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		path string
		n    int
	}{{"failures", c.Failures}, {"min_calls", c.MinCalls}, {"trials", c.Trials}} {
		if f.n < 1 || f.n > 1<<20 {
			errs = append(errs, wrappers.Fieldf(f.path, "must be from 1 to %d (got %d)", 1<<20, f.n))
		}
	}
	if !(c.FailureRate >= 0 && c.FailureRate <= 1) {
		errs = append(errs, wrappers.Fieldf("failure_rate", "must be from 0 to 1 (got %v)", c.FailureRate))
	}
	if c.Window < 10*time.Millisecond {
		errs = append(errs, wrappers.Fieldf("window", "must be at least 10ms (got %s)", c.Window))
	}
	if c.Delay <= 0 || c.Delay > maxDelay {
		errs = append(errs, wrappers.Fieldf("delay", "must be positive and at most %s (got %s)", maxDelay, c.Delay))
	}
	return errors.Join(errs...)
}

// Declare says when calls are refused.
func (c Config) Declare(_ wrappers.Below, d *wrappers.Declaration) {
	when := fmt.Sprintf("%d failures in a row", c.Failures)
	if c.FailureRate > 0 {
		when = fmt.Sprintf("%.0f %% of at least %d calls within %s have failed", 100*c.FailureRate, c.MinCalls, c.Window)
	}
	d.Changes = append(d.Changes, wrappers.Change{Of: wrappers.Repetition,
		How: fmt.Sprintf("nothing is passed on for %s after %s", c.Delay, when)})
}

// Factory returns the factory of circuit_breaker stages.
func Factory() wrappers.Factory {
	return wrappers.NewFactory("circuit_breaker", wrappers.Declaration{Preserves: "everything"}, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
