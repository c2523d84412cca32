package sdk

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/clock"
)

// Opener makes the backend of one instance. It is called once. An error about
// the configuration is InvalidArgument with its ConfigPath, as [DecodeConfig]
// gives it, so that it is reported at its line.
type Opener func(ctx context.Context, env Env) (storage.Backend, error)

// Env is what an instance is made with.
type Env struct {
	// Name is the plugin's name in the host's configuration.
	Name string
	// Config is the backend's own configuration as JSON; empty: none was given.
	Config json.RawMessage
	// Now is the host's clock, the only one that expiry may go by. It never goes
	// back. If nil, it is [clock.System].
	Now func() time.Time
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

// Encoded is a backend that keeps items as the ABI has them, so that the carriers
// can answer reads without decoding, copying and encoding. Each method answers
// what the one of storage.Backend does, as the message of abi/SPEC.md; the
// carriers use them in place of those where a backend has them.
type Encoded interface {
	// GetEncoded answers the Item, without its key. The bytes must stay as they
	// are until the next call.
	GetEncoded(ctx context.Context, key []byte) ([]byte, error)
	// AppendMany appends the Items of a GetMany to dst.
	AppendMany(ctx context.Context, dst []byte, keys [][]byte) ([]byte, error)
	// AppendScan appends the Page of a Scan to dst.
	AppendScan(ctx context.Context, dst []byte, q storage.Query) ([]byte, error)
}

// Quick is a backend that says whether its calls wait for anything: a disk, the
// network, another call. Where they do not, a carrier may have one goroutine
// answer all of them, one after the other, which saves the way to another one.
// A backend that does not implement it is taken to wait.
type Quick interface {
	// Quick tells whether no call waits. It is asked once, after the start.
	Quick() bool
}
