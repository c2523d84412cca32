package sizelimits

import (
	"errors"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config is what YAML holds. Zero: not limited here.
type Config struct {
	Key        int `yaml:"key,bytes"`         // bytes of a key
	Value      int `yaml:"value,bytes"`       // bytes of a value
	Ops        int `yaml:"ops"`               // ops and checks, together, of a write set
	WriteBytes int `yaml:"write_bytes,bytes"` // bytes of all keys and values of a write set
	Rows       int `yaml:"rows"`              // items of a page
}

// DefaultConfig limits nothing.
func DefaultConfig() Config { return Config{} }

// Validate refuses negative limits.
func (c Config) Validate() error {
	var errs []error
	for _, l := range []struct {
		path  string
		value int
	}{{"key", c.Key}, {"value", c.Value}, {"ops", c.Ops}, {"write_bytes", c.WriteBytes}, {"rows", c.Rows}} {
		if l.value < 0 {
			errs = append(errs, wrappers.Fieldf(l.path, "a limit cannot be negative (got %d)", l.value))
		}
	}
	return errors.Join(errs...)
}

// within tells whether no limit is above the one below.
func (c Config) within(below storage.Limits) error {
	var errs []error
	for _, l := range []struct {
		path        string
		want, below int
	}{{"key", c.Key, below.Key}, {"value", c.Value, below.Value}, {"ops", c.Ops, below.Ops}, {"write_bytes", c.WriteBytes, below.WriteBytes}} {
		if l.below > 0 && l.want > l.below {
			errs = append(errs, wrappers.Fieldf(l.path, "%d is above the limit of the backend below, %d", l.want, l.below))
		}
	}
	return errors.Join(errs...)
}

var declaration = wrappers.Declaration{
	Preserves: "everything",
	Never: []wrappers.Order{{Under: wrappers.Merges,
		Why: "one write that is too large has those that it was merged with applied once more, one by one"}},
}

// Factory makes the wrappers of the kind size_limits.
func Factory() wrappers.Factory {
	return wrappers.NewFactory("size_limits", declaration, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
