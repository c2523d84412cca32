package host

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/health"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// Health is how a host is.
type Health struct {
	Status storage.Status            // the worst of the stores'
	Stores map[string]storage.Health // by name
}

// healthTimeout is how long stores may take to say how they are.
const healthTimeout = 2 * time.Second

// Health asks all stores at once. One that fails, or does not answer before ctx ends or
// within 2 s, is unhealthy.
func (h *Host) Health(ctx context.Context, p storage.Probe) Health {
	stores := make(map[string]*storage.Store, len(h.stores))
	for name, s := range h.stores {
		stores[name] = s.Store
	}
	worst, all := health.Ask(ctx, stores, p, healthTimeout)
	return Health{worst, all}
}

// PluginState is how a plugin is that serves a backend. A plugin has a state for each
// backend, for each is opened on its own.
type PluginState struct {
	Plugin  string
	Carrier string   // how it is reached, such as [CarrierWasm]; empty as long as it is not open
	Stores  []string // the names of the stores over the backend; empty for a plugin that no store uses
	// State is starting, ready, degraded, restarting, failed or stopped; unavailable of an
	// optional store's that is not open yet; idle of one that no store uses; and empty
	// where the carrier does not watch it, as it does not watch other hosts.
	State    string
	Reason   string    // why it is not ready; empty if there is nothing to say
	Since    time.Time // when it came to be so; zero if that is not known
	Restarts int       // how often it was started again
	LastLoss string    // why it was lost last; empty if it never was
	RetryAt  time.Time // when it is started again; zero for never
}

// watched is a backend whose carrier knows how its plugin is.
type watched interface{ Status() supervise.Status }

// Plugins returns how the plugins are, by name and store. It asks none: it tells what is
// known.
func (h *Host) Plugins() []PluginState {
	over := map[*backend]int{} // where in all its state is
	all := slices.Clone(h.idle)
	for _, s := range h.Stores() {
		s = s.opened()
		if at, ok := over[s.backend]; ok {
			all[at].Stores = append(all[at].Stores, s.name)
			continue
		}
		over[s.backend] = len(all)
		all = append(all, s.state())
	}
	slices.SortStableFunc(all, func(a, b PluginState) int { return cmp.Compare(a.Plugin, b.Plugin) })
	return all
}

// idlers are the plugins that no store uses.
func (h *Host) idlers(cfg *config.Config) (all []PluginState) {
	used := map[string]bool{}
	for _, sc := range cfg.Stores {
		used[sc.Backend.Plugin] = true
	}
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		if p := h.plugins[name]; p != nil && !used[name] {
			all = append(all, PluginState{Plugin: name, Carrier: p.Kind(), State: "idle"})
		}
	}
	return all
}

// opened is the store itself or, of one that was opened late, what was opened.
func (s *Store) opened() *Store {
	if s.later != nil {
		if o := s.later.open.Load(); o != nil {
			return o.Store
		}
	}
	return s
}

// state is how the plugin is.
func (s *Store) state() PluginState {
	p := PluginState{Plugin: s.plugin, Carrier: s.carrier, Stores: []string{s.name}}
	if s.later != nil {
		p.State, p.Reason = "unavailable", *s.later.why.Load()
		return p
	}
	if w, ok := s.backend.Backend.(watched); ok {
		is := w.Status()
		p.State, p.Reason, p.Since, p.Restarts, p.LastLoss, p.RetryAt = is.State.String(), is.Reason, is.Since, is.Restarts, is.LastLoss, is.RetryAt
	}
	return p
}
