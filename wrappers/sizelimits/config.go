package sizelimits

import (
	"errors"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the settings in YAML. If zero, a size is not limited here.
type Config struct {
	Key        int `yaml:"key,bytes"`         // bytes of a key; if zero, not limited here
	Value      int `yaml:"value,bytes"`       // bytes of a value; if zero, not limited here
	Ops        int `yaml:"ops"`               // ops and checks, in total, of a write set; if zero, not limited here
	WriteBytes int `yaml:"write_bytes,bytes"` // bytes of all keys and values of a write set; if zero, not limited here
	Rows       int `yaml:"rows"`              // items of a page; if zero, not limited here
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

// within returns an error for each limit above the one below.
func (c Config) within(below storage.Limits) error {
	var errs []error
	for _, l := range []struct {
		path        string
		want, below int
	}{{"key", c.Key, below.Key}, {"value", c.Value, below.Value}, {"ops", c.Ops, below.Ops}, {"write_bytes", c.WriteBytes, below.WriteBytes}} {
		if l.below > 0 && l.want > l.below {
			errs = append(errs, wrappers.Fieldf(l.path, "%d exceeds the limit of the backend, %d", l.want, l.below))
		}
	}
	return errors.Join(errs...)
}

var declaration = wrappers.Declaration{
	Preserves: "everything",
	Never: []wrappers.Order{{Under: wrappers.Merges,
		Why: "one oversized write makes that stage apply all merged writes again, one by one"}},
}

// Factory returns the factory of size_limits stages.
func Factory() wrappers.Factory {
	return wrappers.NewFactory("size_limits", declaration, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
