package sdk

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/storage"
)

// Opener makes the backend of one instance. It is called once. An error about
// the configuration is InvalidArgument with its ConfigPath, as [DecodeConfig]
// gives it, so that it is reported at its line.
type Opener func(ctx context.Context, env Env) (storage.Backend, error)

// TryByOpening returns what judges a configuration for a backend that keeps nothing outside
// its process, or changes nothing by being opened: it opens one and closes it.
func TryByOpening(open Opener) func(context.Context, Env) (storage.Info, error) {
	return func(ctx context.Context, env Env) (storage.Info, error) {
		b, err := open(ctx, env)
		if err != nil {
			return storage.Info{}, err
		}
		return b.Info(), b.Close(ctx)
	}
}

// Env is what an instance is made with.
type Env struct {
	// Name is the plugin's name in the host's configuration.
	Name string
	// Config is the backend's own configuration as JSON; empty: none was given.
	Config json.RawMessage
	// Now is the host's clock, the only one that expiry may go by. It never goes
	// back. If nil, it is the system's, and never goes back.
	Now func() time.Time
	// Dir is the folder in which the backend may keep files: the store's own, in which nobody
	// else has a backend. Empty: none was granted.
	Dir string
	// Log arrives in the host's log, with the plugin's name. Nil: nowhere.
	Log *slog.Logger
	// Incarnation is a new random value for each instance. A backend that keeps
	// nothing across restarts puts it into its Info.
	Incarnation [16]byte
	// MaxMessage is the largest answer in bytes that the carrier transports; 0:
	// no limit.
	MaxMessage int
	// Memory is what the instance may use, in bytes; 0: no limit.
	Memory int64
}

// WithDefaults is e with something in Now and Log.
func (e Env) WithDefaults() Env {
	if e.Now == nil {
		e.Now = clock.System().Now
	}
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	return e
}

// Encoded is a backend that writes its answers as the ABI has them, so that the
// carriers can answer reads without copying and encoding once more. Each method
// answers what the one of storage.Backend does, as the message of abi/SPEC.md,
// appended to dst. The carriers use them in place of those where a backend has them.
type Encoded interface {
	// AppendGet appends the Item, without its key.
	AppendGet(ctx context.Context, dst, key []byte) ([]byte, error)
	// AppendMany appends the Items of a GetMany. What would be more than budget
	// bytes is RangeLimit before any of it is appended; repeats count each time.
	AppendMany(ctx context.Context, dst []byte, keys [][]byte, budget int) ([]byte, error)
	// AppendScan appends the Page of a Scan. A first item of more than budget bytes
	// is RangeLimit.
	AppendScan(ctx context.Context, dst []byte, q storage.Query, budget int) ([]byte, error)
}

// Fixed is a backend that lives in a fixed amount of memory, which it holds without
// pointers and never gives back. In a WebAssembly module, the carrier keeps to it
// too: one buffer each for requests and answers, for good, and a garbage collector
// that lets no more garbage be than a few MiB beside what is held.
type Fixed interface {
	// Messages are the most bytes of a request, which the backend's Limits have to
	// imply, and of the answers of one call. They are asked for once, after the start.
	Messages() (request, answers int)
	// Held is how many bytes the backend holds now.
	Held() int64
}

// Quick is a backend that says whether its calls wait for anything: a disk, the
// network, another call. Where they do not, a carrier may have one goroutine
// answer all of them, one after the other, which saves the way to another one.
// A backend that does not implement it is taken to wait.
type Quick interface {
	// Quick tells whether no call waits. It is asked once, after the start.
	Quick() bool
}
