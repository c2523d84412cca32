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

// What a backend may tell in numbers: it is not the host's, and each is a series.
const (
	mostStats    = 64
	mostStatName = 64
	// statsTime is how long a backend may take to tell: a collection waits for all of them
	// together.
	statsTime = time.Second
)

// ofTheHost are details of a health that the host has a metric of its own for.
var ofTheHost = map[string]bool{"restarts": true}

// measure has observed what backends say of themselves in numbers, as details of their
// readiness. stop ends it.
func (h *Host) measure() (stop func() error, err error) {
	if h.settings.Meter == nil {
		return func() error { return nil }, nil
	}
	m := h.settings.Meter.Meter("github.com/plinthkv/plinth/host")
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
			for name, n := range told[i] {
				o.ObserveInt64(gauge, n, metric.WithAttributes(attribute.String("db.namespace", b.store), attribute.String("plinth.plugin", b.plugin.name), attribute.String("plinth.stat", name)))
			}
		}
		return nil
	}, gauge, number, failed)
	if err != nil {
		return nil, err
	}
	return registered.Unregister, nil
}

// stats are the numbers of a backend's readiness.
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
