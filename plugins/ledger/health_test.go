package ledger_test

import (
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
)

func TestHealth(t *testing.T) {
	const healthy, degraded, unavailable = ledgerpb.HealthStatus_HEALTH_STATUS_HEALTHY, ledgerpb.HealthStatus_HEALTH_STATUS_DEGRADED, ledgerpb.HealthStatus_HEALTH_STATUS_UNAVAILABLE
	for _, h := range []struct {
		name string
		says []ledgerpb.HealthStatus
		want storage.Status
		why  string
	}{
		{"all are well", []ledgerpb.HealthStatus{healthy, healthy}, storage.Healthy, ""},
		{"one is degraded", []ledgerpb.HealthStatus{healthy, degraded}, storage.Degraded, "degraded"},
		{"all are degraded", []ledgerpb.HealthStatus{degraded, degraded}, storage.Degraded, "degraded"},
		{"one is not available", []ledgerpb.HealthStatus{unavailable, healthy}, storage.Degraded, "not available"},
		{"none is available", []ledgerpb.HealthStatus{unavailable, unavailable}, storage.Unhealthy, "not available"},
		{"one says what nobody knows", []ledgerpb.HealthStatus{healthy, 9}, storage.Degraded, "does not say"},
	} {
		t.Run(h.name, func(t *testing.T) {
			c := cluster(t, ledgertest.Options{Nodes: len(h.says)})
			b := open(t, c)
			for i, s := range h.says {
				c.Node(i).SetHealth(s)
			}
			for _, p := range []storage.Probe{storage.Readiness, storage.Startup} {
				got, err := b.Health(t.Context(), p)
				if err != nil || got.Status != h.want || (got.Reason == "") != (h.why == "") || !strings.Contains(got.Reason, h.why) {
					t.Errorf("%s: %+v, %v", p, got, err)
				}
				if got.Details["probe"] != p.String() || got.Details["connection_latency_ms"] == "" || got.Details["node "+c.Endpoints()[0]] == "" {
					t.Errorf("the details are %v", got.Details)
				}
			}
		})
	}
}

// A node that is gone, or hangs, makes the store degraded, and all of them unhealthy;
// liveness asks no node.
func TestHealthOfWhatIsGone(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 2})
	b := open(t, c, func(c *ledger.Config) { c.Timeouts.Attempt = "1s" })
	c.Node(1).Hang()
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Degraded || !strings.Contains(h.Reason, c.Endpoints()[1]) {
		t.Errorf("one hangs: %+v, %v", h, err)
	}
	if err := c.Node(0).Stop(); err != nil {
		t.Fatal(err)
	}
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Unhealthy {
		t.Errorf("one hangs, the other is gone: %+v, %v", h, err)
	}
	if h, err := b.Health(t.Context(), storage.Liveness); err != nil || h.Status != storage.Healthy {
		t.Errorf("liveness: %+v, %v", h, err)
	}
}
