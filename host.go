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

// Health checks all stores concurrently, and returns the result of each and the worst of
// them. A store that fails, or does not answer before ctx ends or within 2 s, is
// unhealthy.
func (h *Host) Health(ctx context.Context, p storage.Probe) host.Health { return h.host.Health(ctx, p) }

// Plugins returns the known state of each plugin, without calling one.
func (h *Host) Plugins() []host.PluginState { return h.host.Plugins() }

// Reload replaces the configuration in force by cfg, from [Load], while calls continue.
// Unchanged parts keep running with their state, and the rest is replaced at once. If
// anything is wrong, nothing changes. Existing stores stay valid. See [host.Host.Reload].
func (h *Host) Reload(ctx context.Context, cfg *config.Config) (host.Changes, error) {
	return h.host.Reload(ctx, cfg)
}

// ReloadFunc reloads like Reload, with the configuration that load returns: see
// [host.Host.ReloadFunc].
func (h *Host) ReloadFunc(ctx context.Context, load func(inForce *config.Config) (*config.Config, error)) (host.Changes, error) {
	return h.host.ReloadFunc(ctx, load)
}

// Config returns the configuration in force.
func (h *Host) Config() *config.Config { return h.host.Config() }

// Files returns the paths of the plugins' files.
func (h *Host) Files() []string { return h.host.Files() }

// Changes returns what Reload with cfg would do, and changes nothing.
func (h *Host) Changes(ctx context.Context, cfg *config.Config) (host.Changes, error) {
	return h.host.Changes(ctx, cfg)
}

// RestartPlugin starts a plugin again, with all its backends. As for a change of the
// plugin, items that are kept in memory only require on_swap, unless the plugin has
// failed.
func (h *Host) RestartPlugin(ctx context.Context, name string) (host.Changes, error) {
	return h.host.RestartPlugin(ctx, name)
}

// Reloaded returns the result of the last Reload or RestartPlugin.
func (h *Host) Reloaded() host.Reload { return h.host.Reloaded() }

// Generation returns how often the configuration in force was changed, starting at 1 for
// Open, and the time of the last change. A store that was opened late counts as a change.
func (h *Host) Generation() (number int, since time.Time) { return h.host.Generation() }

// Close closes the stages of every pipeline, outermost first, then the backends, then the
// plugins. Calls in flight end before their backend does. It is idempotent. If ctx ends
// first, Close leaves the rest open and returns an error.
func (h *Host) Close(ctx context.Context) error { return h.host.Close(ctx) }

// Store gives access to a store of a [Host]: it has the methods of [storage.Store] over a
// pipeline and a backend, and facts from the configuration. Its host closes it: its own
// Close does nothing.
type Store struct {
	*storage.Store
	of *host.Store
}

// Name returns the store's name in the configuration.
func (s *Store) Name() string { return s.of.Name() }

// Plugin returns the name of its backend's plugin.
func (s *Store) Plugin() string { return s.of.Plugin() }

// Carrier returns how the backend is reached, such as [host.CarrierWasm].
func (s *Store) Carrier() string { return s.of.Carrier() }

// Shared reports whether others may write to the backend without going through this host.
func (s *Store) Shared() bool { return s.of.Shared() }

// Stages returns the names of its wrappers, outermost first.
func (s *Store) Stages() []string { return s.of.Stages() }

// Promises returns the guarantees of the store, and the stages that change them.
func (s *Store) Promises() []wrappers.Promise { return s.of.Promises() }

// Warnings returns warnings about the order of stages.
func (s *Store) Warnings() []string { return s.of.Warnings() }

// Untried returns why a host opened with [WithTrial] cannot report what the store would
// be, or nil if it can.
func (s *Store) Untried() error { return s.of.Untried() }
