package prefix

import (
	"fmt"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the settings in YAML.
type Config struct {
	Prefix string `yaml:"prefix"` // prefix of every key in the backend; any bytes
}

// DefaultConfig has no prefix, which is not valid: it has to be chosen.
func DefaultConfig() Config { return Config{} }

// Validate refuses what is no namespace.
func (c Config) Validate() error {
	if c.Prefix == "" {
		return wrappers.Fieldf("prefix", "is missing: set the prefix of this store's keys in the backend")
	}
	return nil
}

// Declare says what the stages below see.
func (c Config) Declare(_ wrappers.Below, d *wrappers.Declaration) {
	d.Preserves = fmt.Sprintf("everything, within the keys that begin with %q in the backend", c.Prefix)
}

// Factory returns the factory of prefix stages.
func Factory() wrappers.Factory {
	return wrappers.NewFactory("prefix", wrappers.Declaration{Does: wrappers.Renames, Preserves: "everything"}, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
