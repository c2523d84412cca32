package memory

import (
	"context"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Config is the configuration of a memory backend.
type Config struct {
	// MaxBytes is how much may be stored, in bytes: keys, values and at most 70 for
	// each item, 110 for one that expires. A write beyond it is refused with NoSpace.
	// As a module, the backend needs Beside more than that of limits.memory, whatever
	// is asked of it.
	MaxBytes sdk.Size `json:"max_bytes"`
}

// DefaultConfig is what stands where the configuration is silent.
func DefaultConfig() Config { return Config{MaxBytes: 256 << 20} }

// minBytes is what is of any use.
const minBytes = 1 << 20

// Beside is the most bytes of memory that a module takes beside MaxBytes: for Go's
// runtime and its garbage, for a request and an answer of the largest size, for the
// IDs that are remembered, and for what a write set adds before what it replaces is
// gone. Linked in, a backend holds at most half of it, without what callers are given.
const Beside = 128 << 20

// mostBytes is what can be addressed.
const mostBytes = 30 << 30

// Validate tells whether a backend can be made of c with memory bytes to live
// in; 0: no limit.
func (c Config) Validate(memory int64) error {
	switch most := memory - Beside; {
	case c.MaxBytes < minBytes:
		return sdk.ConfigErrorf("max_bytes", "max_bytes is %d, it must be at least %d", c.MaxBytes, int64(minBytes))
	case c.MaxBytes > mostBytes:
		return sdk.ConfigErrorf("max_bytes", "max_bytes is %d, it must be at most %d", c.MaxBytes, int64(mostBytes))
	case memory > 0 && most < minBytes:
		return sdk.ConfigErrorf("max_bytes", "limits.memory is %d, with max_bytes of %d it must be at least %d: the module needs %d beside max_bytes",
			memory, c.MaxBytes, int64(c.MaxBytes)+Beside, int64(Beside))
	case memory > 0 && int64(c.MaxBytes) > most:
		return sdk.ConfigErrorf("max_bytes", "max_bytes is %d, with limits.memory of %d it must be at most %d: the module needs %d beside it",
			c.MaxBytes, memory, most, int64(Beside))
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
