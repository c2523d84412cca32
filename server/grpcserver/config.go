package grpcserver

import (
	"log/slog"
	"math"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/internal/door"
	"github.com/plinthkv/plinth/storage"
)

// Config is how a server listens and what it allows. Zero fields are the defaults.
type Config struct {
	Door door.Door // where it listens and who may come in

	HeaderBytes      int           // of a call's metadata; 0: 16 KiB
	HandshakeTimeout time.Duration // for a connection to be made; 0: 5 s
	MessageTimeout   time.Duration // for a caller to send a request; 0: 1 min
	WriteTimeout     time.Duration // for a caller to take an answer; 0: 30 s
	IdleTimeout      time.Duration // of a connection without calls; 0: 2 min
	MaxAge           time.Duration // of a connection, after which callers come anew; 0: none
	MessageBytes     int           // of a request or an answer; 0: 64 MiB
	MaxOps           int           // ops and checks of an apply; 0: 10,000
	MaxKeys          int           // keys of a GetMany; 0: 1,000
	MaxConcurrent    int           // calls at once; 0: 1,024
	ShutdownTimeout  time.Duration // for calls to finish; 0: 15 s
}

// Settings are what code hands to a server beside its configuration.
type Settings struct {
	Stores map[string]*storage.Store // by the name that callers ask for
	Log    *slog.Logger              // nil: slog.Default()
	// Memory is what requests and answers in flight may take, on this listener and
	// others. Nil: there is no bound.
	Memory *budget.Budget
	// Shared tells of a store whether others write to its backend, past this
	// process. Nil: none is.
	Shared func(store string) bool

	Tracer trace.TracerProvider // where spans go; nil: nowhere
	Meter  metric.MeterProvider // where metrics go; nil: nowhere
	// Options are further ones of the gRPC server.
	Options []grpc.ServerOption
}

// The keepalive of connections: how often callers may ping, how long a silent
// one is left alone before it is pinged, and how long its answer may take.
const (
	leastPing   = 5 * time.Second
	pingAfter   = time.Minute
	pingTimeout = 20 * time.Second
)

func (c *Config) defaults() {
	for _, d := range []struct {
		have *time.Duration
		want time.Duration
	}{{&c.HandshakeTimeout, 5 * time.Second}, {&c.MessageTimeout, time.Minute}, {&c.WriteTimeout, 30 * time.Second},
		{&c.IdleTimeout, 2 * time.Minute}, {&c.MaxAge, math.MaxInt64}, {&c.ShutdownTimeout, 15 * time.Second}} {
		if *d.have <= 0 {
			*d.have = d.want
		}
	}
	for _, d := range []struct {
		have *int
		want int
	}{{&c.HeaderBytes, 16 << 10}, {&c.MessageBytes, abi.DefaultMaxFrame}, {&c.MaxOps, 10_000}, {&c.MaxKeys, 1_000}, {&c.MaxConcurrent, 1_024}} {
		if *d.have <= 0 {
			*d.have = d.want
		}
	}
}

// limits are what the transport takes, whatever the store would.
func (c *Config) limits() storage.Limits {
	ops := min(c.MaxOps, abi.MaxElements)
	const perOp, head = 64, 1 << 10 // what messages add to keys and values
	return storage.Limits{
		Key: c.MessageBytes / 4, Value: c.MessageBytes / 2, Ops: ops,
		WriteBytes: max(c.MessageBytes-ops*perOp-head, c.MessageBytes/2), GetKeys: min(c.MaxKeys, abi.MaxElements),
	}
}
