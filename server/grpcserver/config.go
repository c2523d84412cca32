package grpcserver

import (
	"log/slog"
	"math"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/gatekeeper"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// Config configures the listener and the limits of a server. Zero fields have their
// defaults.
type Config struct {
	server.Listener

	MessageTimeout time.Duration // to send a request; by default 1 min
	MaxAge         time.Duration // of a connection, after which clients must reconnect; by default no limit
	MessageBytes   int           // of a request or an answer; by default 64 MiB
}

// Settings holds what code passes to a server in addition to its configuration.
type Settings struct {
	Stores map[string]*storage.Store // by the name that callers use
	Log    *slog.Logger              // if nil, slog.Default()
	// Memory limits the memory of requests and responses in flight, on this listener and
	// others. If nil, there is no limit.
	Memory *server.Memory
	// Shared reports whether others write to a store's backend without going through this
	// process. If nil, no store is shared.
	Shared func(store string) bool

	Tracer trace.TracerProvider // provider for spans; if nil, no spans are recorded
	Meter  metric.MeterProvider // provider for metrics; if nil, no metrics are recorded
	// Options adds options to the gRPC server.
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

// gatekeeper returns the address and the authentication of callers.
func (c *Config) gatekeeper() gatekeeper.Gatekeeper {
	return gatekeeper.Gatekeeper{Address: c.Address, Token: c.Token, Cert: c.Cert, Key: c.Key, ClientCA: c.ClientCA}
}

// limits returns the transport's limits, which apply in addition to the store's.
func (c *Config) limits() storage.Limits {
	ops := min(c.MaxOps, abi.MaxElements)
	const perOp, head = 64, 1 << 10 // what messages add to keys and values
	return storage.Limits{
		Key: c.MessageBytes / 4, Value: c.MessageBytes / 2, Ops: ops,
		WriteBytes: max(c.MessageBytes-ops*perOp-head, c.MessageBytes/2), GetKeys: min(c.MaxKeys, abi.MaxElements),
	}
}
