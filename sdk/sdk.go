package sdk

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/storage"
)

// Opener makes the backend of one instance. It is called once. An error about the
// configuration is InvalidArgument with its ConfigPath, as [DecodeConfig] returns it, so
// that it is reported at its line.
type Opener func(ctx context.Context, env Env) (storage.Backend, error)

// TryByOpening returns a function that judges a configuration by opening a backend and
// closing it, for backends that keep nothing outside their process, or change nothing
// when they are opened.
func TryByOpening(open Opener) func(context.Context, Env) (storage.Info, error) {
	return func(ctx context.Context, env Env) (storage.Info, error) {
		b, err := open(ctx, env)
		if err != nil {
			return storage.Info{}, err
		}
		return b.Info(), b.Close(ctx)
	}
}

// Env is the environment of an instance.
type Env struct {
	// Name is the plugin's name in the host's configuration.
	Name string
	// Config is the backend's own configuration as JSON. It is empty if there is none.
	Config json.RawMessage
	// Now is the host's clock, which never goes back. Expiry must use no other. If nil,
	// it is the system's clock, which then never goes back either.
	Now func() time.Time
	// Dir is the store's own folder for the backend's files; no other backend uses it. It
	// is empty if no folder was granted.
	Dir string
	// Log writes to the host's log, with the plugin's name. If nil, records are dropped.
	Log *slog.Logger
	// Incarnation is a new random value for each instance. A backend that keeps nothing
	// across restarts copies it into its Info.
	Incarnation [16]byte
	// MaxMessage is the largest answer that the carrier transports, in bytes. If zero,
	// there is no limit.
	MaxMessage int
	// Memory is the memory that the instance may use, in bytes. If zero, there is no
	// limit.
	Memory int64
}

// WithDefaults returns e with Now and Log set.
func (e Env) WithDefaults() Env {
	if e.Now == nil {
		e.Now = clock.System().Now
	}
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	return e
}

// Encoded is a backend that encodes its answers itself, so that carriers need not copy
// and encode them again. Each method appends to dst what the method of storage.Backend
// returns, as a message of abi/SPEC.md. If a backend implements it, carriers use it for
// reads.
type Encoded interface {
	// AppendGet appends the Item, without its key.
	AppendGet(ctx context.Context, dst, key []byte) ([]byte, error)
	// AppendMany appends the Items of a GetMany. More than budget bytes are RangeLimit,
	// before anything is appended; repeats count each time.
	AppendMany(ctx context.Context, dst []byte, keys [][]byte, budget int) ([]byte, error)
	// AppendScan appends the Page of a Scan. A first item above budget bytes is
	// RangeLimit.
	AppendScan(ctx context.Context, dst []byte, q storage.Query, budget int) ([]byte, error)
}

// Putter is a backend with a shorter way to write one item. In a WebAssembly module, the
// carrier uses it if the backend is Fixed as well.
type Putter interface {
	// Put is Apply of one put of an item that never expires, without checks and ID. If ok
	// is false, it has changed nothing, and the carrier calls Apply.
	Put(key, value []byte) (version uint64, ok bool)
}

// Fixed is a backend that uses a fixed amount of memory, which it holds without pointers
// and never gives back. In a WebAssembly module, the carrier then does the same: it keeps
// one buffer each for requests and answers, and its garbage collector allows a few MiB of
// garbage beyond the held memory.
type Fixed interface {
	// Messages returns the maximum bytes of a request, which must follow from the
	// backend's Limits, and of the answers of one call. It is called once, after the
	// start.
	Messages() (request, answers int)
	// Held returns the number of bytes that the backend holds now.
	Held() int64
}

// Quick is a backend that reports whether its calls wait for anything: a disk, the
// network, another call. If they do not, a carrier may make all calls from one goroutine,
// one after the other, which saves switching between goroutines. A backend that does not
// implement it is assumed to wait.
type Quick interface {
	// Quick reports whether no call waits. It is called once, after the start.
	Quick() bool
}
