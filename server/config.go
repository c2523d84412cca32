package server

import (
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// Config configures the listener and the limits of a server. Zero fields have their defaults.
type Config struct {
	Listener
	// Hosts lists the names that a request's Host may have, in addition to those of the
	// address and of loopback. Without an Address and without Hosts, any Host is accepted: the
	// server that uses the handler decides.
	Hosts []string

	// AdminToken lets a caller with this bearer token administer the host from anywhere. If
	// empty, only callers on this machine may.
	AdminToken *secret.Value

	BodyTimeout time.Duration // to send the body; by default 1 min
	PartTimeout time.Duration // to send the next part of it; by default 10 s
	BodyBytes   int64         // of a request; by default derived from the store's limits
}

// Settings holds what code passes to a server in addition to its configuration.
type Settings struct {
	Stores map[string]*storage.Store // by the name in the path
	Log    *slog.Logger              // if nil, slog.Default()
	// Memory limits the memory of requests and responses in flight, on this listener and
	// others. If nil, there is no limit.
	Memory *Memory

	// Admin serves paths below /v1/admin/ to callers with the AdminToken, and to callers on a
	// unix socket or from loopback that have the Token and are not behind a proxy. Optional.
	Admin      http.Handler
	Metrics    http.Handler                  // serves /metrics to authorized callers; optional
	Tracer     trace.TracerProvider          // provider for spans; if nil, no spans are recorded
	Meter      metric.MeterProvider          // provider for metrics; if nil, no metrics are recorded
	Propagator propagation.TextMapPropagator // reads the trace context of requests; if nil, W3C's
}

// metricsPath is the path of metrics for Prometheus.
const metricsPath = "/metrics"

func (c *Config) defaults() {
	c.Listener = c.WithDefaults()
	defaults(map[*time.Duration]time.Duration{&c.BodyTimeout: time.Minute, &c.PartTimeout: 10 * time.Second})
}
