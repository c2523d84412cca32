package plinth

import (
	"context"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Host owns the plugins, backends and stores of a configuration. [Open] and [OpenConfig]
// make one. It is safe for concurrent use.
type Host struct{ host *host.Host }

// Store returns the store of that name. If there is none, the error is InvalidArgument and
// names the nearest one.
func (h *Host) Store(name string) (*Store, error) {
	s, err := h.host.Store(name)
	if err != nil {
		return nil, err
	}
	return &Store{Store: s.Store, of: s}, nil
}

// Stores returns all stores, by name.
func (h *Host) Stores() []*Store {
	all := h.host.Stores()
	stores := make([]*Store, len(all))
	for i, s := range all {
		stores[i] = &Store{Store: s.Store, of: s}
	}
	return stores
}

// Health asks all stores at once how they are, and returns what each said and the worst
// of it. A store that fails, or does not answer before ctx ends or within 2 s, is
// unhealthy.
func (h *Host) Health(ctx context.Context, p storage.Probe) host.Health { return h.host.Health(ctx, p) }

// Plugins returns what is known of the state of each plugin, without asking one.
func (h *Host) Plugins() []host.PluginState { return h.host.Plugins() }

// Reload puts cfg, which [Load] has read, in the place of the configuration in force, while
// calls go on: what it does not change stays as it is, with its state, and the rest is
// replaced at once. If anything is wrong, everything stays as it is. Stores that were handed
// out stay valid. See [host.Host.Reload].
func (h *Host) Reload(ctx context.Context, cfg *config.Config) (host.Changes, error) {
	return h.host.Reload(ctx, cfg)
}

// ReloadFunc is Reload of what load returns: see [host.Host.ReloadFunc].
func (h *Host) ReloadFunc(ctx context.Context, load func(inForce *config.Config) (*config.Config, error)) (host.Changes, error) {
	return h.host.ReloadFunc(ctx, load)
}

// Config returns the configuration in force.
func (h *Host) Config() *config.Config { return h.host.Config() }

// Files returns the paths of the files that plugins are made of.
func (h *Host) Files() []string { return h.host.Files() }

// Changes returns what Reload with cfg would do, and changes nothing.
func (h *Host) Changes(ctx context.Context, cfg *config.Config) (host.Changes, error) {
	return h.host.Changes(ctx, cfg)
}

// RestartPlugin starts a plugin again, with all its backends. As a change of it would, it
// needs on_swap where items are kept in memory alone, unless the plugin has failed.
func (h *Host) RestartPlugin(ctx context.Context, name string) (host.Changes, error) {
	return h.host.RestartPlugin(ctx, name)
}

// Reloaded returns what came of the last Reload or RestartPlugin.
func (h *Host) Reloaded() host.Reload { return h.host.Reloaded() }

// Generation returns how often what is in force was changed, from 1 for what Open made, and
// when that was last. A store that was opened late counts as a change.
func (h *Host) Generation() (number int, since time.Time) { return h.host.Generation() }

// Close closes the stages of every pipeline, outermost first, then the backends, then the
// plugins. Calls in flight end before their backend does. It is idempotent. If ctx ends
// first, it leaves open what it could not close, and the error says so.
func (h *Host) Close(ctx context.Context) error { return h.host.Close(ctx) }

// Store is a store of a [Host]: the verbs of [storage.Store] over a pipeline and a backend,
// and what the configuration made of it. Its host closes it: its own Close does nothing.
type Store struct {
	*storage.Store
	of *host.Store
}

// Name returns the store's name in the configuration.
func (s *Store) Name() string { return s.of.Name() }

// Plugin returns the name of the plugin that its backend is.
func (s *Store) Plugin() string { return s.of.Plugin() }

// Carrier returns how that backend is reached, such as [host.CarrierWasm].
func (s *Store) Carrier() string { return s.of.Carrier() }

// Shared reports whether others may write to that backend, past this host.
func (s *Store) Shared() bool { return s.of.Shared() }

// Stages returns the names of its wrappers, outermost first.
func (s *Store) Stages() []string { return s.of.Stages() }

// Promises returns what the store guarantees, and which stage changes what about it.
func (s *Store) Promises() []wrappers.Promise { return s.of.Promises() }

// Warnings returns what is to be said of stages in an unfortunate order.
func (s *Store) Warnings() []string { return s.of.Warnings() }

// Untried returns why a host opened with [WithTrial] cannot tell what the store would be;
// nil if it can.
func (s *Store) Untried() error { return s.of.Untried() }
