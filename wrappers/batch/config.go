package batch

import (
	"errors"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Config holds the settings in YAML.
type Config struct {
	MaxOps   int           `yaml:"max_ops"`         // maximum number of ops in a merged write set; the backend's limit applies if it is lower
	MaxBytes int           `yaml:"max_bytes,bytes"` // maximum number of bytes of its keys and values
	Linger   time.Duration `yaml:"linger"`          // how long a lone write waits for others; if zero, it does not wait
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{MaxOps: 1000, MaxBytes: 8 << 20} }

// maxLinger keeps a slip of the unit from stopping all writes.
const maxLinger = 10 * time.Second

// Validate refuses what would merge nothing, or hold up everything.
func (c Config) Validate() error {
	var errs []error
	if c.MaxOps < 2 {
		errs = append(errs, wrappers.Fieldf("max_ops", "must be at least 2 (got %d)", c.MaxOps))
	}
	if c.MaxBytes < 1 {
		errs = append(errs, wrappers.Fieldf("max_bytes", "must be at least 1 (got %d)", c.MaxBytes))
	}
	if c.Linger < 0 || c.Linger > maxLinger {
		errs = append(errs, wrappers.Fieldf("linger", "must be from 0s to %s (got %s)", maxLinger, c.Linger))
	}
	return errors.Join(errs...)
}

// Declare says what is merged.
func (c Config) Declare(_ wrappers.Below, d *wrappers.Declaration) {
	d.Changes = append(d.Changes, wrappers.Change{Of: wrappers.Atomicity,
		How: fmt.Sprintf("unconditional writes of several callers become one, of up to %d ops; each caller has an outcome of its own", c.MaxOps)})
}

// Factory returns the factory of batch stages.
func Factory() wrappers.Factory {
	d := wrappers.Declaration{
		Needs:     storage.CapAtomic,
		Does:      wrappers.Merges,
		Preserves: "everything; each caller has an outcome of its own",
		Never: []wrappers.Order{
			{Under: wrappers.Identifies, Refuse: true, Why: "every write has an ID there, and writes with an ID are never merged"},
			{Under: wrappers.Merges, Why: "the writes that arrive are merged already"},
		},
	}
	return wrappers.NewFactory("batch", d, DefaultConfig,
		func(next storage.Backend, c Config, s wrappers.Settings) (storage.Backend, error) {
			return New(next, c, s)
		})
}
