package host

import (
	"context"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/plinthkv/plinth/storage"
)

// Limits for the numbers of a backend: they are not the host's, and each is a series.
const (
	mostStats    = 64
	mostStatName = 64
	// statsTime limits how long a backend may take to report them: a collection waits for
	// all backends together.
	statsTime = time.Second
)

// ofTheHost are details of a health that the host has a metric of its own for.
var ofTheHost = map[string]bool{"restarts": true}

// hostScope is the instrumentation scope of what the host measures.
const hostScope = "github.com/plinthkv/plinth/host"

// measure has observed what backends say of themselves in numbers, as details of their
// readiness. stop ends it.
func (h *Host) measure() (stop func() error, err error) {
	if h.settings.Meter == nil {
		return func() error { return nil }, nil
	}
	m := h.settings.Meter.Meter(hostScope)
	gauge, err := m.Int64ObservableGauge("plinth.backend.stat", metric.WithDescription("What a backend says of itself, by the name that it has for it."))
	if err != nil {
		return nil, err
	}
	number, err := m.Int64ObservableGauge("plinth.config.generation", metric.WithDescription("How often what is in force was changed, from 1 for the start."))
	if err != nil {
		return nil, err
	}
	failed, err := m.Int64ObservableGauge("plinth.config.last_reload_failed", metric.WithDescription("1 after a reload that was refused, until one succeeds."))
	if err != nil {
		return nil, err
	}
	if h.reloads, err = m.Int64Counter("plinth.config.reloads", metric.WithUnit("{reload}"), metric.WithDescription("Reloads of the configuration, by whether they succeeded.")); err != nil {
		return nil, err
	}
	followers, err := m.Int64ObservableGauge("plinth.changes.followers", metric.WithUnit("{call}"), metric.WithDescription("Calls for changes under way, most of which wait."))
	if err != nil {
		return nil, err
	}
	registered, err := m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		g := h.live.Load()
		o.ObserveInt64(number, int64(g.number))
		o.ObserveInt64(failed, int64(btoi(h.Reloaded().Err != nil)))
		backends := g.backends()
		ctx, cancel := context.WithTimeout(ctx, statsTime)
		defer cancel()
		told := make([]map[string]int64, len(backends))
		var wg sync.WaitGroup
		for i, b := range backends {
			wg.Go(func() { told[i] = stats(ctx, b) })
		}
		wg.Wait()
		for i, b := range backends {
			o.ObserveInt64(followers, b.hub.Feed().Followers.Load(), b.attributes())
			for name, n := range told[i] {
				o.ObserveInt64(gauge, n, metric.WithAttributes(attribute.String("db.namespace", b.store), attribute.String("plinth.plugin", b.plugin.name), attribute.String("plinth.stat", name)))
			}
		}
		return nil
	}, gauge, number, failed, followers)
	if err != nil {
		return nil, err
	}
	return registered.Unregister, nil
}

// attributes returns what the backend's metrics have in common.
func (b *backend) attributes() metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("db.namespace", b.store), attribute.String("plinth.plugin", b.plugin.name))
}

// newFeed makes what it is recorded in how far behind followers are.
func (h *Host) newFeed() (err error) {
	if h.settings.Meter == nil {
		return nil
	}
	h.behind, err = h.settings.Meter.Meter(hostScope).Float64Histogram("plinth.changes.delay", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest change on a page that a follower is given."),
		metric.WithExplicitBucketBoundaries(1e-5, 1e-4, 0.001, 0.01, 0.1, 1, 10, 60, 300))
	return err
}

// measureFeed has how far followers of b are behind recorded.
func (h *Host) measureFeed(b *backend) {
	if h.behind == nil {
		return
	}
	with := b.attributes()
	b.hub.Feed().Behind = func(d time.Duration) { h.behind.Record(context.Background(), d.Seconds(), with) }
}

// stats returns the numbers of a backend's readiness.
func stats(ctx context.Context, b storage.Backend) map[string]int64 {
	health, err := b.Health(ctx, storage.Readiness)
	if err != nil {
		return nil
	}
	told := map[string]int64{}
	for name, text := range health.Details {
		n, err := strconv.ParseInt(text, 10, 64)
		if err == nil && isStatName(name) && !ofTheHost[name] && len(told) < mostStats {
			told[name] = n
		}
	}
	return told
}

// isStatName reports whether a name may be a label: anything else is for people alone.
func isStatName(name string) bool {
	if name == "" || len(name) > mostStatName {
		return false
	}
	for _, c := range name {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
