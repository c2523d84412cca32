package memory

import (
	"context"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Config is the configuration of a memory backend.
type Config struct {
	// MaxBytes is how much may be stored, in bytes: keys, values and at most 70 for each
	// item, 110 for one that expires. A write beyond it is refused with NoSpace. As a
	// module, the backend requires a limits.memory that is larger by at least 128 MiB.
	MaxBytes sdk.Size `json:"max_bytes"`
}

// DefaultConfig returns the defaults of all settings.
func DefaultConfig() Config { return Config{MaxBytes: 256 << 20} }

// minBytes is what is of any use.
const minBytes = 1 << 20

// Beside bounds the memory of a module in addition to MaxBytes, in bytes: Go's runtime
// and its garbage, a request and an answer of the largest size, remembered IDs, and items
// that a write set adds before it frees those they replace. Linked in, a backend holds at
// most half of it, without what it returns to callers.
const Beside = 128 << 20

// mostBytes is what can be addressed.
const mostBytes = 30 << 30

// Validate returns an error unless a backend with c fits into memory bytes, if that is not 0.
func (c Config) Validate(memory int64) error {
	switch most := memory - Beside; {
	case c.MaxBytes < minBytes:
		return sdk.ConfigErrorf("max_bytes", "max_bytes is %d, it must be at least %d", c.MaxBytes, int64(minBytes))
	case c.MaxBytes > mostBytes:
		return sdk.ConfigErrorf("max_bytes", "max_bytes is %d, it must be at most %d", c.MaxBytes, int64(mostBytes))
	case memory > 0 && most < minBytes:
		return sdk.ConfigErrorf("max_bytes", "limits.memory is %d, with max_bytes of %d it must be at least %d: the module requires %d in addition to max_bytes",
			memory, c.MaxBytes, int64(c.MaxBytes)+Beside, int64(Beside))
	case memory > 0 && int64(c.MaxBytes) > most:
		return sdk.ConfigErrorf("max_bytes", "max_bytes is %d, with limits.memory of %d it must be at most %d: the module requires %d in addition to it",
			c.MaxBytes, memory, most, int64(Beside))
	}
	return nil
}

// Open makes a backend in env. It is an [sdk.Opener].
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
