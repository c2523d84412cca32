package grpcserver

import (
	"log/slog"
	"math"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/door"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// Config is how a server listens and what it allows. Zero fields are the defaults.
type Config struct {
	server.Listener

	MessageTimeout time.Duration // for a caller to send a request; by default 1 min
	MaxAge         time.Duration // of a connection, after which callers come anew; by default none
	MessageBytes   int           // of a request or an answer; by default 64 MiB
}

// Settings are what code hands to a server beside its configuration.
type Settings struct {
	Stores map[string]*storage.Store // by the name that callers ask for
	Log    *slog.Logger              // nil: slog.Default()
	// Memory is what requests and answers in flight may take, on this listener and
	// others. Nil: there is no bound.
	Memory *server.Memory
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
	c.Listener = c.WithDefaults()
	if c.MessageTimeout <= 0 {
		c.MessageTimeout = time.Minute
	}
	if c.MaxAge <= 0 {
		c.MaxAge = math.MaxInt64
	}
	if c.MessageBytes <= 0 {
		c.MessageBytes = abi.DefaultMaxFrame
	}
}

// door is the address and who may come in.
func (c *Config) door() door.Door {
	return door.Door{Address: c.Address, Token: c.Token, Cert: c.Cert, Key: c.Key, ClientCA: c.ClientCA}
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
