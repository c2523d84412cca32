package ledger

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// Health asks every node of the configuration, except for liveness, which asks none. The
// result is healthy if all nodes are, degraded if at least one serves, and unhealthy if
// none does.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	if err := storage.ContextError(ctx); err != nil {
		return storage.Health{}, named("health", err)
	}
	if !b.calls.Enter() {
		return storage.Health{}, errClosed("health")
	}
	defer b.calls.Leave()
	if p == storage.Liveness {
		h := storage.Health{Status: storage.Healthy, Details: map[string]string{"probe": p.String()}}
		incarnation := b.info.Load().Incarnation
		h.Details["incarnation"] = hex.EncodeToString(incarnation[:])
		return h, nil
	}
	nodes := b.pool.all()
	states := make([]nodeState, len(nodes))
	var all sync.WaitGroup
	start := time.Now()
	for i, n := range nodes {
		all.Go(func() { states[i] = b.nodeHealth(ctx, n) })
	}
	all.Wait()
	if err := storage.ContextError(ctx); err != nil {
		return storage.Health{}, named("health", err)
	}
	h := summary(states)
	b.losses.describe(&h, b.info.Load().Incarnation)
	h.Details["probe"] = p.String()
	h.Details["connection_latency_ms"] = strconv.FormatInt(time.Since(start).Milliseconds(), 10)
	return h, nil
}

// nodeState describes how one node is.
type nodeState struct {
	name   string
	status storage.Status
	why    string // empty where it is healthy
}

func (b *Backend) nodeHealth(ctx context.Context, n *node) nodeState {
	answer := new(ledgerpb.HealthCheckResponse)
	if f := b.ask(ctx, n, b.times.read, methodCheck, &ledgerpb.HealthCheckRequest{}, answer); f != nil {
		return nodeState{n.name, storage.Unhealthy, f.storageError().Msg}
	}
	s := nodeState{n.name, storage.Degraded, ""}
	switch answer.Status {
	case ledgerpb.HealthStatus_HEALTH_STATUS_HEALTHY:
		s.status = storage.Healthy
		return s
	case ledgerpb.HealthStatus_HEALTH_STATUS_UNAVAILABLE:
		s.status, s.why = storage.Unhealthy, n.name+": the node says that it is not available"
	case ledgerpb.HealthStatus_HEALTH_STATUS_DEGRADED:
		s.why = n.name + ": the node says that it is degraded"
	default:
		s.why = n.name + ": the node does not say how it is"
	}
	if phase := answer.Details["phase"]; phase != "" {
		s.why += fmt.Sprintf(" (phase %.32q)", phase)
	}
	return s
}

// summary returns the health of the cluster as a client sees it.
func summary(states []nodeState) storage.Health {
	h := storage.Health{Status: storage.Unhealthy, Details: map[string]string{}}
	var why []string
	healthy := 0
	for _, s := range states {
		h.Details["node "+s.name] = s.status.String()
		if s.status != storage.Unhealthy {
			h.Status = storage.Degraded
		}
		if s.status == storage.Healthy {
			healthy++
			continue
		}
		why = append(why, s.why)
	}
	if healthy == len(states) {
		h.Status = storage.Healthy
	}
	h.Reason = strings.Join(why, "; ")
	return h
}
