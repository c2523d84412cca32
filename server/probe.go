package server

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/plinthkv/plinth/internal/health"
	"github.com/plinthkv/plinth/storage"
)

// probes maps paths to probes. They need no token; without one the answer is short.
var probes = map[string]storage.Probe{
	"/livez":    storage.Liveness,
	"/readyz":   storage.Readiness,
	"/startupz": storage.Startup,
}

// probeTimeout limits how long stores may take to say how they are.
const probeTimeout = 2 * time.Second

// probeAnswer is the body of a probe.
type probeAnswer struct {
	Status string                 `json:"status"`
	Reason string                 `json:"reason,omitempty"`
	Stores map[string]storeHealth `json:"stores,omitempty"`
}

type storeHealth struct {
	Status  string            `json:"status"`
	Reason  string            `json:"reason,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

// probe handles a probe: 200 if healthy or degraded, otherwise 503. Liveness calls no
// backend, because a backend that hangs is no reason to restart the host.
func (s *Server) probe(w http.ResponseWriter, r *http.Request, p storage.Probe) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return httpError(http.StatusMethodNotAllowed, "method_not_allowed", "method not allowed: probes support GET, HEAD")
	}
	answer := probeAnswer{Status: storage.Healthy.String()}
	if p != storage.Liveness {
		answer = s.askStores(r.Context(), p)
	}
	if p == storage.Readiness && s.draining.Load() {
		answer.Status, answer.Reason = storage.Unhealthy.String(), "shutting down"
	}
	status := http.StatusOK
	if answer.Status == storage.Unhealthy.String() {
		status = http.StatusServiceUnavailable
	}
	if s.onlyProbes || !s.knownHost(r) || !s.known(r) { // names and reasons are only for known callers
		answer = probeAnswer{Status: answer.Status}
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		_ = json.NewEncoder(w).Encode(answer) // the caller may be gone
	}
	return nil
}

// askStores asks all stores at once. The worst of them is the answer.
func (s *Server) askStores(ctx context.Context, p storage.Probe) probeAnswer {
	worst, all := health.Ask(ctx, s.now().stores, p, probeTimeout)
	answer := probeAnswer{Status: worst.String(), Stores: make(map[string]storeHealth, len(all))}
	for name, h := range all {
		answer.Stores[name] = storeHealth{h.Status.String(), h.Reason, h.Details}
	}
	return answer
}
