package server

import (
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/storage"
)

// Config is how a server listens and what it allows. Zero fields are the defaults.
type Config struct {
	Listener
	// Hosts are names that a request's Host may have, in addition to the address's own and
	// loopback's. Without an Address and without Hosts it may have any: the server that
	// has the handler decides.
	Hosts []string

	// AdminToken is the bearer token that lets a caller administer the host from anywhere. If
	// empty, only callers on this machine may.
	AdminToken string

	BodyTimeout time.Duration // to send the body; by default 1 min
	PartTimeout time.Duration // to send the next part of it; by default 10 s
	BodyBytes   int64         // of a request; by default as the store's limits ask
}

// Settings are what code hands to a server beside its configuration.
type Settings struct {
	Stores map[string]*storage.Store // by the name in the path
	Log    *slog.Logger              // nil: slog.Default()
	// Memory is what requests and answers in flight may take, on this listener and
	// others. Nil: there is no bound.
	Memory *Memory

	// Admin answers what is asked below /v1/admin/, to those who may: callers on a unix socket
	// or from loopback that no proxy speaks for and that have the Token, and whoever has the
	// AdminToken. Nil: nothing.
	Admin      http.Handler
	Metrics    http.Handler                  // what /metrics shows, to those who may ask; nil: nothing
	Tracer     trace.TracerProvider          // where spans go; nil: nowhere
	Meter      metric.MeterProvider          // where metrics go; nil: nowhere
	Propagator propagation.TextMapPropagator // reads the trace context of requests; nil: W3C's
}

// metricsPath is where Prometheus asks.
const metricsPath = "/metrics"

func (c *Config) defaults() {
	c.Listener = c.WithDefaults()
	defaults(map[*time.Duration]time.Duration{&c.BodyTimeout: time.Minute, &c.PartTimeout: 10 * time.Second})
}
