package server

import (
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/internal/door"
	"github.com/plinthkv/plinth/storage"
)

// Config is how a server listens and what it allows. Zero fields are the defaults.
type Config struct {
	Address string   // "host:port", or "unix:/path"
	Hosts   []string // names that a request's Host may have, beside the address's own and loopback's
	Token   string   // what callers must send as a bearer token; empty: nothing
	// Cert and Key are PEM files; with them the listener speaks TLS alone.
	// ClientCA, if set, is who must have signed a caller's certificate.
	Cert, Key, ClientCA string

	HeaderBytes     int           // of a request; 0: 16 KiB
	HeaderTimeout   time.Duration // to send the header; 0: 5 s
	BodyTimeout     time.Duration // to send the body; 0: 1 min
	PartTimeout     time.Duration // to send the next part of it; 0: 10 s
	WriteTimeout    time.Duration // for a caller to take a part of the answer; 0: 30 s
	IdleTimeout     time.Duration // between requests; 0: 2 min
	BodyBytes       int64         // of a request; 0: as the store's limits ask
	MaxOps          int           // ops and checks of an apply; 0: 10,000
	MaxKeys         int           // keys of a get; 0: 1,000
	MaxConcurrent   int           // requests at once; 0: 1,024
	ShutdownTimeout time.Duration // for requests to finish; 0: 15 s
}

// Settings are what code hands to a server beside its configuration.
type Settings struct {
	Stores map[string]*storage.Store // by the name in the path
	Log    *slog.Logger              // nil: slog.Default()
	// Memory is what requests and answers in flight may take, on this listener and
	// others. Nil: there is no bound.
	Memory *budget.Budget

	Metrics    http.Handler                  // what /metrics shows, to those who may ask; nil: nothing
	Tracer     trace.TracerProvider          // where spans go; nil: nowhere
	Meter      metric.MeterProvider          // where metrics go; nil: nowhere
	Propagator propagation.TextMapPropagator // reads the trace context of requests; nil: W3C's
}

// metricsPath is where Prometheus asks.
const metricsPath = "/metrics"

func (c *Config) defaults() {
	for _, d := range []struct {
		have *time.Duration
		want time.Duration
	}{{&c.HeaderTimeout, 5 * time.Second}, {&c.BodyTimeout, time.Minute}, {&c.PartTimeout, 10 * time.Second}, {&c.WriteTimeout, 30 * time.Second},
		{&c.IdleTimeout, 2 * time.Minute}, {&c.ShutdownTimeout, 15 * time.Second}} {
		if *d.have <= 0 {
			*d.have = d.want
		}
	}
	for _, d := range []struct {
		have *int
		want int
	}{{&c.HeaderBytes, 16 << 10}, {&c.MaxOps, 10_000}, {&c.MaxKeys, 1_000}, {&c.MaxConcurrent, 1_024}} {
		if *d.have <= 0 {
			*d.have = d.want
		}
	}
}

// door is the listener's address and who may come in.
func (c *Config) door() door.Door {
	return door.Door{Address: c.Address, Token: c.Token, Cert: c.Cert, Key: c.Key, ClientCA: c.ClientCA}
}
