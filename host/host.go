package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Settings are what code hands to a host beside its configuration.
type Settings struct {
	// Registry are the wrappers that pipelines may name.
	Registry *wrappers.Registry
	// Modules are those of plugins that need no file, by name. They are trusted.
	Modules map[string][]byte
	// Backends are plugins in Go that the program has linked in, by name. One that has the
	// name of a module stands in its place.
	Backends map[string]*Linked
	// CacheDir keeps compiled modules between runs; empty: only while this runs.
	CacheDir string
	// Worker is the command of a program that runs plugins in a process of its own: one
	// that calls plinth.RunWorker first of all. Empty: there is none.
	Worker []string
	// Clock is what the host's clock follows, by which items expire. It may jump: the
	// host's clock never goes back. If nil, the host's clock is [clock.System].
	Clock func() time.Time
	Log   *slog.Logger // nil: slog.Default()

	// Trial opens no backend that another host may have open: processes judge their
	// configuration, in an empty folder, and say what they would be. What cannot be told
	// that way is in [Store.Untried]. The stores of such a host serve nothing.
	Trial bool

	// PluginTelemetry is OpenTelemetry's declarative configuration for plugins that are
	// processes and are granted it; nil: there is none.
	PluginTelemetry []byte

	Tracer trace.TracerProvider // where spans go; nil: nowhere
	Meter  metric.MeterProvider // where metrics go; nil: nowhere
}

// Linked is a plugin in Go that the program has linked in.
type Linked = carrier.Linked

// Host owns the plugins, the backends and the stores of one configuration. It is
// safe for concurrent use.
type Host struct {
	settings Settings
	unwatch  func()       // ends the log of the clock
	unstat   func() error // ends the metrics of backends; nil: there are none
	clock    *clock.Clock // the one by which expiries are made and judged
	runtime  *wasmhost.Runtime
	carriers []carrier.Factory
	opening  sync.Mutex // guards plugins and backends while optional stores are opened
	plugins  map[string]*plugin
	backends []*backend
	stores   map[string]*Store
	idle     []PluginState // of plugins that no store uses
}

// backend is an opened plugin, with the hub that all stores over it share.
type backend struct {
	storage.Backend
	hub     *wrappers.Hub
	store   string // that it was opened for
	plugin  string
	shared  bool  // others may write to it, past this host
	untried error // why it is not known what it would be; nil: it is
}

// below is what the innermost stage stands on.
func (b *backend) below() wrappers.Below { return wrappers.Below{Info: b.Info(), Shared: b.shared} }

// Open builds everything that cfg says. What is wrong is reported all at once,
// with its position in the configuration; then nothing stays open.
func Open(ctx context.Context, cfg *config.Config, s Settings) (_ *Host, err error) {
	if s.Log == nil {
		s.Log = slog.Default()
	}
	h := &Host{settings: s, plugins: map[string]*plugin{}, stores: map[string]*Store{}}
	h.clock, h.unwatch = newClock(s.Clock, s.Log)
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close(context.WithoutCancel(ctx)))
		}
	}()
	if h.runtime, err = wasmhost.NewRuntime(ctx, s.CacheDir); err != nil {
		return nil, err
	}
	if len(s.Worker) > 0 {
		h.runtime.CompileBy(isolate.Compiler(s.Worker, isolate.DefaultBounds()))
	}
	h.carriers = carriers(h.runtime)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Plugins)) { // also those that no store uses
		if _, err := h.plugin(ctx, cfg, name); err != nil && h.optionalOnly(cfg, name) {
			delete(h.plugins, name) // its stores say what is wrong
		} else {
			errs = append(errs, err)
		}
	}
	h.idle = h.idlers(cfg) // before stores are opened, which may go on beside this
	names := slices.Sorted(maps.Keys(cfg.Stores))
	// Those that name another store's backend come after it.
	slices.SortStableFunc(names, func(a, b string) int {
		return btoi(cfg.Stores[a].Backend.Store != "") - btoi(cfg.Stores[b].Backend.Store != "")
	})
	for _, name := range names {
		errs = append(errs, h.openStore(ctx, cfg, name))
	}
	if err := config.Join(errs...); err != nil {
		return nil, err
	}
	if h.unstat, err = h.measure(); err != nil {
		return nil, err
	}
	return h, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// optionalOnly reports whether all stores on a plugin are optional.
func (h *Host) optionalOnly(cfg *config.Config, plugin string) (only bool) {
	for _, sc := range cfg.Stores {
		if sc.Backend.Plugin == plugin {
			if only = h.optional(sc); !only {
				return false
			}
		}
	}
	return only
}

// optional reports whether the host serves without the store. A trial wants to know all
// that is wrong.
func (h *Host) optional(sc config.Store) bool {
	return sc.Start == config.StartOptional && !h.settings.Trial
}

// openStore opens a store. An optional one whose backend cannot be opened is opened later.
func (h *Host) openStore(ctx context.Context, cfg *config.Config, name string) error {
	h.opening.Lock()
	defer h.opening.Unlock()
	optional := h.optional(cfg.Stores[name])
	if optional {
		h.forget(cfg.Stores[name].Backend.Plugin)
	}
	s, err, more := h.build(ctx, cfg, name)
	switch {
	case err != nil && more == nil && optional:
		h.openLater(cfg, name, err)
	case err != nil || more != nil:
		return config.Join(err, more)
	case s != nil:
		h.stores[name] = s
	}
	return nil
}

// forget has a plugin that failed tried again, and what is wrong with it said again.
func (h *Host) forget(plugin string) {
	if p := h.plugins[plugin]; p == nil {
		delete(h.plugins, plugin)
	} else {
		p.reported = false
	}
}

// build opens the backend of a store and builds its pipeline. Where there is no backend,
// the pipeline is built all the same, for the errors in it: those are more. A nil store
// without errors is one whose errors were reported before.
func (h *Host) build(ctx context.Context, cfg *config.Config, name string) (_ *Store, err, more error) {
	sc := cfg.Stores[name]
	path := fmt.Sprintf("stores.%s", name)
	s := &Store{name: name, plugin: sc.Backend.Plugin}
	switch other := sc.Backend.Store; {
	case sc.Backend.Plugin == "" && other == "": // reported
	case cfg.Broken(path+".backend.plugin") || cfg.Broken(path+".backend.store"):
	case other != "":
		err = h.share(cfg, path, other, s)
	default:
		s.backend, err = h.openBackend(ctx, cfg, name)
	}
	missing := s.backend == nil
	if missing {
		s.backend = &backend{Backend: would{info: anything}, hub: wrappers.NewHub(would{info: anything})}
	}
	more = config.Join(h.pipeline(cfg, sc, s), require(cfg, path, sc.Require, s.top().Info().Caps))
	if missing || more != nil {
		return nil, err, config.Join(more, s.close(context.WithoutCancel(ctx)))
	}
	if p := h.plugins[s.plugin]; p != nil {
		s.carrier = p.Kind()
	}
	s.untried = s.backend.untried
	s.Store = storage.New(s.top(), storage.Settings{Clock: h.clock.Now, Borrowed: true})
	return s, nil, nil
}

// share gives s the backend of another store.
func (h *Host) share(cfg *config.Config, path, other string, s *Store) error {
	shared, ok := h.stores[other]
	if ok && shared.later != nil {
		o := shared.later.open.Load()
		if o == nil {
			return cfg.Root().Errorf(path+".backend.store", "the store %q, whose backend it shares, is not open", other)
		}
		shared = o.Store
	}
	if ok {
		s.plugin, s.carrier, s.backend = shared.plugin, shared.carrier, shared.backend
		return nil
	}
	if sc, ok := cfg.Stores[other]; ok && sc.Backend.Store == "" {
		return nil // it failed, and has been reported
	}
	return cfg.Root().Errorf(path+".backend.store", "there is no store %q with a backend of its own", other)
}

// anything is a backend that is not known, while the stages over it are checked. It has
// what any of them needs, and nothing that makes one wrong.
var anything = storage.Info{Caps: ^storage.CapIdempotent}

// would stands for a backend that is not open.
type would struct {
	storage.UnimplementedBackend
	info storage.Info
}

func (w would) Info() storage.Info { return w.info }

func (h *Host) openBackend(ctx context.Context, cfg *config.Config, store string) (*backend, error) {
	bc := cfg.Stores[store].Backend
	p, err := h.plugin(ctx, cfg, bc.Plugin)
	if err != nil || p == nil || p.reported {
		return nil, err
	}
	path := fmt.Sprintf("stores.%s.backend", store)
	if cfg.Broken(path + ".config") {
		return nil, nil
	}
	if _, can := p.Carrier.(carrier.Trier); can && h.settings.Trial {
		b, err := p.try(ctx, bc.Config)
		if err != nil && !errors.Is(err, storage.ErrUnsupported) {
			return nil, configError(cfg, bc.Config, path, err)
		}
		return &backend{Backend: b, hub: wrappers.NewHub(b), shared: p.Shared(), untried: err}, nil
	}
	opened, err := p.Open(ctx, store, bc.Config)
	var about *carrier.FieldError
	switch {
	case errors.As(err, &about):
		p.reported = true
		return nil, p.at(cfg, err)
	case err != nil:
		return nil, configError(cfg, bc.Config, path, err)
	}
	b := &backend{Backend: opened, hub: h.hub(opened), store: store, plugin: bc.Plugin, shared: p.Shared()}
	opened.WhenLost(b.hub.StateLost)
	h.backends = append(h.backends, b)
	return b, nil
}

// configError gives an error that names a place in a plugin's own configuration
// its position.
func configError(cfg *config.Config, own *config.Node, path string, err error) error {
	var positioned config.Errors
	if errors.As(err, &positioned) {
		return err
	}
	e := storage.AsError(err)
	if e.Code != storage.InvalidArgument || own == nil {
		return cfg.Root().Errorf(path, "%v", err)
	}
	plain := *e
	plain.ConfigPath = ""
	return own.Errorf(e.ConfigPath, "%v", &plain)
}

func (s *Store) top() storage.Backend {
	if n := len(s.pipeline); n > 0 {
		return s.pipeline[n-1]
	}
	return s.backend.hub.Backend()
}

// Store returns the store of that name. If there is none, the error is InvalidArgument and
// names the nearest one.
func (h *Host) Store(name string) (*Store, error) {
	if s, ok := h.stores[name]; ok {
		return s, nil
	}
	return nil, storage.Errorf(storage.InvalidArgument, "the host has no store %q%s", name, config.Hint(name, slices.Collect(maps.Keys(h.stores))))
}

// Stores are all, by name.
func (h *Host) Stores() []*Store {
	var all []*Store
	for _, name := range slices.Sorted(maps.Keys(h.stores)) {
		all = append(all, h.stores[name])
	}
	return all
}

// Close closes the stages of every pipeline, outermost first, then the backends,
// then the plugins. Calls in flight end before their backend does. It is
// idempotent. Ended by ctx it leaves what it could not close, and says so.
func (h *Host) Close(ctx context.Context) error {
	h.unwatch()
	var errs []error
	if h.unstat != nil {
		errs = append(errs, h.unstat())
	}
	for _, s := range h.Stores() {
		if s.later != nil {
			if s = s.later.stop(); s == nil {
				continue
			}
		}
		errs = append(errs, s.close(ctx))
	}
	for _, b := range slices.Backward(h.backends) {
		errs = append(errs, b.Close(ctx))
	}
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		if p := h.plugins[name]; p != nil {
			errs = append(errs, p.Close(ctx))
		}
	}
	if h.runtime != nil {
		errs = append(errs, h.runtime.Close(ctx))
	}
	return errors.Join(errs...)
}

func (s *Store) close(ctx context.Context) error {
	var errs []error
	for _, stage := range slices.Backward(s.pipeline) {
		errs = append(errs, stage.Close(ctx))
	}
	return errors.Join(errs...)
}
