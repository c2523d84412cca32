package server

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/plinthkv/plinth/internal/gatekeeper"
	"github.com/plinthkv/plinth/storage"
)

// mostProbes limits the probes and pages of metrics that a server of [NewProbes] answers at
// once. Liveness is not counted: it costs nothing, and a refusal would cause a restart.
const mostProbes = 64

// NewProbes returns a server of /livez, /readyz, /startupz and /metrics alone, in the clear
// and without a token: for a Kubernetes kubelet or a Prometheus that has no client
// certificate. Any address is accepted. Probes report the state of the whole without names
// and reasons; /metrics answers only to the address itself, loopback and c.Hosts, so that no
// web page reads it through its visitor.
//
// Of c it uses Address, Hosts, HeaderBytes, HeaderTimeout, WriteTimeout, IdleTimeout,
// ShutdownDelay and ShutdownTimeout; of s Stores, Log and Metrics.
func NewProbes(c Config, s Settings) *Server {
	c.defaults()
	c.Token, c.AdminToken, c.Cert, c.Key, c.ClientCA = nil, nil, "", "", ""
	c.MaxConcurrent = mostProbes
	if s.Log == nil {
		s.Log = slog.Default()
	}
	srv := newServer(c, Settings{Stores: s.Stores, Log: s.Log, Metrics: s.Metrics}, &telemetry{}, &gatekeeper.Guard{}, nil)
	srv.onlyProbes = true
	return srv
}

// dispatchProbes handles a request to a server for probes only.
func (s *Server) dispatchProbes(w http.ResponseWriter, r *http.Request) error {
	s.patience(w)
	p, probe := probes[r.URL.Path]
	switch {
	case !probe && (r.URL.Path != metricsPath || s.settings.Metrics == nil):
		return httpError(http.StatusNotFound, "not_found", "this address serves probes and metrics only")
	case p == storage.Liveness && probe:
		return s.probe(w, r, p)
	case !probe && !s.knownHost(r):
		return httpError(http.StatusForbidden, "permission_denied", "Host not allowed: add it to server.hosts")
	case !probe && !sameSite(r):
		return errOtherSite()
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return s.tooMany()
	}
	if probe {
		return s.probe(w, r, p)
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.config.WriteTimeout)
	defer cancel()
	s.settings.Metrics.ServeHTTP(w, r.WithContext(ctx))
	return nil
}
