package memory

import (
	"context"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Config is the configuration of a memory backend.
type Config struct {
	// MaxBytes is how much may be stored, in bytes: keys, values and what it
	// takes to keep them. A write beyond it is refused with NoSpace.
	MaxBytes sdk.Size `json:"max_bytes"`
}

// DefaultConfig is what stands where the configuration is silent.
func DefaultConfig() Config { return Config{MaxBytes: 256 << 20} }

// minBytes holds one item of the largest size.
const minBytes = 1 << 20

// reserve is how many bytes of memory a stored byte may take at worst, in the
// middle of a garbage collection.
const reserve = 3

// Validate tells whether a backend can be made of c with memory bytes to live
// in; 0: no limit.
func (c Config) Validate(memory int64) error {
	if c.MaxBytes < minBytes {
		return sdk.ConfigErrorf("max_bytes", "max_bytes is %d, it must be at least %d", c.MaxBytes, int64(minBytes))
	}
	if most := memory / reserve; memory > 0 && int64(c.MaxBytes) > most {
		return sdk.ConfigErrorf("max_bytes", "max_bytes is %d, with a memory limit of %d it can be at most %d", c.MaxBytes, memory, most)
	}
	return nil
}

// Open makes a backend as env says. It is an [sdk.Opener].
func Open(_ context.Context, env sdk.Env) (storage.Backend, error) {
	config := DefaultConfig()
	if err := sdk.DecodeConfig(env.Config, &config); err != nil {
		return nil, err
	}
	if err := config.Validate(env.Memory); err != nil {
		return nil, err
	}
	return New(config, env), nil
}
