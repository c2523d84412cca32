package host

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/health"
	"github.com/plinthkv/plinth/storage"
)

// Health describes the health of a host.
type Health struct {
	Status storage.Status            // the worst of the stores'
	Stores map[string]storage.Health // by name
}

// healthTimeout limits how long stores may take to say how they are.
const healthTimeout = 2 * time.Second

// Health checks all stores at once. A store that fails, or does not respond before ctx ends
// or within 2 s, is unhealthy.
func (h *Host) Health(ctx context.Context, p storage.Probe) Health {
	stores := map[string]*storage.Store{}
	for _, s := range h.Stores() {
		stores[s.Name()] = s.Store
	}
	worst, all := health.Ask(ctx, stores, p, healthTimeout)
	return Health{worst, all}
}

// PluginState describes the state of a plugin for one backend. A plugin has a state for each
// of its backends, because each is opened on its own.
type PluginState struct {
	Plugin  string
	Carrier string   // how it is reached, such as [CarrierWasm]; empty as long as it is not open
	SHA256  string   // of its module or executable, in hex; empty for one that has no file
	Stores  []string // the names of the stores over the backend; empty for a plugin that no store uses
	// State is starting, ready, degraded, restarting, failed or stopped; unavailable of an
	// optional store's that is not open yet; idle of one that no store uses; and empty
	// where the carrier does not watch it, as it does not watch other hosts.
	State    string
	Reason   string    // why it is not ready; may be empty
	Since    time.Time // when it entered the state; zero if unknown
	Restarts int       // number of restarts
	LastLoss string    // reason of the last loss; empty if it was never lost
	RetryAt  time.Time // time of the next start; zero if none is planned
}

// Plugins returns the states of the plugins, by name and store. It calls no plugin: it
// returns the last known state.
func (h *Host) Plugins() []PluginState {
	g := h.live.Load()
	over := map[*backend]int{} // where in all its state is
	all := g.idle()
	for _, name := range g.names {
		p := g.stores[name]
		if at, ok := over[p.backend]; ok {
			all[at].Stores = append(all[at].Stores, name)
			continue
		}
		over[p.backend] = len(all)
		all = append(all, p.state())
	}
	slices.SortStableFunc(all, func(a, b PluginState) int { return cmp.Compare(a.Plugin, b.Plugin) })
	return all
}

// idle returns the plugins that no store uses.
func (g *generation) idle() (all []PluginState) {
	used := map[string]bool{}
	for _, p := range g.stores {
		used[p.plugin] = true
	}
	for _, name := range slices.Sorted(maps.Keys(g.broken)) {
		all = append(all, PluginState{Plugin: name, State: "failed", Reason: g.broken[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(g.plugins)) {
		if p := g.plugins[name]; p != nil && !used[name] {
			all = append(all, PluginState{Plugin: name, Carrier: p.Kind(), SHA256: p.digest(), State: "idle"})
		}
	}
	return all
}

// state returns how the plugin is.
func (p *pipeline) state() PluginState {
	s := PluginState{Plugin: p.plugin, Carrier: p.carrier, Stores: []string{p.store}}
	if p.backend.plugin != nil {
		s.SHA256 = p.backend.plugin.digest()
	}
	if p.absent != nil {
		s.State, s.Reason = "unavailable", *p.absent.why.Load()
		return s
	}
	if w, ok := p.backend.Backend.(carrier.Supervised); ok {
		is := w.Status()
		s.State, s.Reason, s.Since, s.Restarts, s.LastLoss, s.RetryAt = is.State.String(), is.Reason, is.Since, is.Restarts, is.LastLoss, is.RetryAt
	}
	return s
}
