package faults

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the settings in YAML.
type Config struct {
	Seed  uint64 `yaml:"seed"`  // the same seed and calls give the same faults; if zero, the seed differs at every start
	Rules []Rule `yaml:"rules"` // for each call, the first rule that strikes applies
}

// Rule describes a fault and what it happens to.
type Rule struct {
	Calls   []string      `yaml:"calls"`   // get, get_many, scan, changes, apply or health; by default all
	Prefix  string        `yaml:"prefix"`  // only calls that touch a key beginning with this; by default all
	Rate    float64       `yaml:"rate"`    // the share of these calls, from 0 to 1
	Delay   time.Duration `yaml:"delay"`   // delay before the call
	Error   string        `yaml:"error"`   // code of the error to return, such as "unavailable"; by default none
	Applied bool          `yaml:"applied"` // apply the call before returning the error; the outcome of a write is then unknown
}

// calls are the names of what can fail.
var calls = []string{"get", "get_many", "scan", "changes", "apply", "health"}

// DefaultConfig has no faults.
func DefaultConfig() Config { return Config{} }

// Validate refuses rules that say nothing.
func (c Config) Validate() error {
	var errs []error
	for i, r := range c.Rules {
		at := func(field string) string { return fmt.Sprintf("rules[%d].%s", i, field) }
		for n, call := range r.Calls {
			if !slices.Contains(calls, call) {
				errs = append(errs, wrappers.Fieldf(fmt.Sprintf("%s[%d]", at("calls"), n), "unknown call %q: must be one of %s", call, strings.Join(calls, ", ")))
			}
		}
		if !(r.Rate > 0 && r.Rate <= 1) {
			errs = append(errs, wrappers.Fieldf(at("rate"), "must be above 0 and at most 1 (got %v)", r.Rate))
		}
		if r.Delay < 0 {
			errs = append(errs, wrappers.Fieldf(at("delay"), "cannot be negative (got %s)", r.Delay))
		}
		if r.Error != "" && codeOf(r.Error) == storage.OK {
			errs = append(errs, wrappers.Fieldf(at("error"), "unknown error %q", r.Error))
		}
		if r.Applied && r.Error == "" {
			errs = append(errs, wrappers.Fieldf(at("applied"), "requires error"))
		}
		if r.Error == "" && r.Delay == 0 {
			errs = append(errs, wrappers.Fieldf(fmt.Sprintf("rules[%d]", i), "must set delay, error or both"))
		}
	}
	return errors.Join(errs...)
}

// codeOf returns the code of an error called name; OK: there is none.
func codeOf(name string) storage.Code {
	for c := storage.OK + 1; c.Known(); c++ {
		if c.Name() == name {
			return c
		}
	}
	return storage.OK
}

// Factory returns the factory of faults stages.
func Factory() wrappers.Factory {
	d := wrappers.Declaration{
		Does:      wrappers.Injects,
		Preserves: "no write that may have been applied is reported as failed",
		Weakens:   "everything else, on purpose",
		Warnings:  []string{"makes calls fail on purpose"},
	}
	return wrappers.NewFactory("faults", d, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
