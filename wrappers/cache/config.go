package cache

import (
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the settings in YAML.
type Config struct {
	MaxBytes int           `yaml:"max_bytes,bytes"` // bytes of all entries, including their overhead
	TTL      time.Duration `yaml:"ttl"`             // the longest time that an item is kept
	// The longest time that an absent key is remembered. If zero, absent keys are not cached.
	NegativeTTL time.Duration `yaml:"negative_ttl"`
	// The maximum age of an item that others have overwritten, for a backend with the capability
	// changes: the cache follows the changes, and drops overwritten items within milliseconds.
	// With change_notice, each write of others empties the cache. While it is further behind,
	// every read goes to the backend. If zero, it does not follow.
	Staleness time.Duration `yaml:"staleness"`
	// How long the keys of a write are not cached after its outcome was unknown. Set it to
	// the longest time for which the backend may still be applying the write.
	UnknownHold time.Duration `yaml:"unknown_hold"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{MaxBytes: 64 << 20, TTL: time.Minute, NegativeTTL: 5 * time.Second, Staleness: time.Second, UnknownHold: time.Minute}
}

// minBytes is the least that max_bytes may be.
const minBytes = 64 << 10

// minStaleness is the least that staleness may be: a follower asks four times as often.
const minStaleness = 20 * time.Millisecond

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
	if c.Staleness != 0 && c.Staleness < minStaleness {
		errs = append(errs, wrappers.Fieldf("staleness", "is %s, it must be at least %s, or 0 for none", c.Staleness, minStaleness))
	}
	if c.UnknownHold < 0 {
		errs = append(errs, wrappers.Fieldf("unknown_hold", "cannot be negative (got %s)", c.UnknownHold))
	}
	return errors.Join(errs...)
}

// Declare reports how late the writes of others are seen.
func (c Config) Declare(b wrappers.Below, d *wrappers.Declaration) {
	if !b.Shared {
		return
	}
	changes := b.Info.Caps.Has(storage.CapChanges)
	if c.Staleness > 0 && (changes || b.Notices) {
		how := fmt.Sprintf("writes of others to the backend are followed, and seen after %s at the latest", c.Staleness)
		if !changes {
			how = fmt.Sprintf("writes of others to the backend are noticed, and seen after %s at the latest; each empties the cache", c.Staleness)
		}
		d.Changes = append(d.Changes, wrappers.Change{Of: wrappers.ReadAfterWrite, Weaker: true, How: how})
		return
	}
	how := fmt.Sprintf("writes of others to the backend are seen after %s at the latest", max(c.TTL, c.NegativeTTL))
	d.Changes = append(d.Changes, wrappers.Change{Of: wrappers.ReadAfterWrite, Weaker: true, How: how})
	d.Warnings = append(d.Warnings, "others may write to this backend: "+how)
}

// Factory returns the factory of cache stages.
func Factory() wrappers.Factory {
	d := wrappers.Declaration{
		Preserves: "everything, for those who write through this host",
		Weakens:   "writes of others to the backend may be seen late, by at most staleness if the backend has changes or change_notice, else by at most ttl",
	}
	return wrappers.NewFactory("cache", d, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
