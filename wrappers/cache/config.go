package cache

import (
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config is what YAML holds.
type Config struct {
	MaxBytes int           `yaml:"max_bytes,bytes"` // bytes of all entries, with what it takes to keep them
	TTL      time.Duration `yaml:"ttl"`             // how long an item is kept at most
	// NegativeTTL is how long it is kept that a key is absent; 0: not at all.
	NegativeTTL time.Duration `yaml:"negative_ttl"`
	// UnknownHold is how long after a write of unknown outcome its keys are not
	// kept: as long as the backend may still be working on it.
	UnknownHold time.Duration `yaml:"unknown_hold"`
}

// DefaultConfig is what stands where the configuration is silent.
func DefaultConfig() Config {
	return Config{MaxBytes: 64 << 20, TTL: time.Minute, NegativeTTL: 5 * time.Second, UnknownHold: time.Minute}
}

// minBytes is the least that max_bytes may be.
const minBytes = 64 << 10

// Validate refuses what cannot be kept to.
func (c Config) Validate() error {
	var errs []error
	if c.MaxBytes < minBytes {
		errs = append(errs, wrappers.Fieldf("max_bytes", "%d bytes are too few, it must be at least %d", c.MaxBytes, minBytes))
	}
	if c.TTL <= 0 {
		errs = append(errs, wrappers.Fieldf("ttl", "must be positive (got %s)", c.TTL))
	}
	if c.NegativeTTL < 0 {
		errs = append(errs, wrappers.Fieldf("negative_ttl", "cannot be negative (got %s)", c.NegativeTTL))
	}
	if c.UnknownHold < 0 {
		errs = append(errs, wrappers.Fieldf("unknown_hold", "cannot be negative (got %s)", c.UnknownHold))
	}
	return errors.Join(errs...)
}

// Declare tells how late the writes of others are seen.
func (c Config) Declare(b wrappers.Below, d *wrappers.Declaration) {
	if !b.Shared {
		return
	}
	how := fmt.Sprintf("what others write to the backend is seen after %s at the latest", max(c.TTL, c.NegativeTTL))
	d.Changes = append(d.Changes, wrappers.Change{Of: wrappers.ReadAfterWrite, Weaker: true, How: how})
	d.Warnings = append(d.Warnings, "others may write to this backend: "+how)
}

// Factory makes the wrappers of the kind cache.
func Factory() wrappers.Factory {
	d := wrappers.Declaration{
		Preserves: "everything, for those who write through this host",
		Weakens:   "what others write to the backend may be seen late, by ttl at most",
	}
	return wrappers.NewFactory("cache", d, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
