package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/storage"
)

// builder makes a generation next to the one in force. What did not change it takes over;
// what it makes anew is closed again by done, unless the generation came into force.
type builder struct {
	h        *Host
	cfg      *config.Config
	old      *generation
	restart  map[string]bool // plugins that are started again although nothing changed
	plugins  map[string]*plugin
	broken   map[string]string // why, of plugins that no store uses
	reported map[string]bool   // plugins about which an error was: it is not said again of each store
	stores   map[string]*pipeline
	kept     map[string]bool // stores whose pipeline is that of before
	opened   []*backend      // by this builder, which is a user of them
	later    []*pipeline     // stores that are yet to be opened
	// only names the one store to build when it is tried again: the others stay as they
	// are, whatever became of their files. If empty, all are built. serve goes on without
	// stores that cannot be opened.
	only  string
	serve bool
	dry   bool // opens no backend
	// postponed are stores whose backend is opened only once the one before is closed.
	postponed map[string]bool
	taken     bool // the generation came into force
}

func (h *Host) builder(cfg *config.Config) *builder {
	return &builder{h: h, cfg: cfg, old: h.live.Load(), plugins: map[string]*plugin{}, reported: map[string]bool{}, stores: map[string]*pipeline{},
		kept: map[string]bool{}, postponed: map[string]bool{}, broken: map[string]string{}}
}

// build makes everything, and reports all that is wrong.
func (b *builder) build(ctx context.Context) error {
	return config.Join(b.carriers(ctx), b.pipelines(ctx))
}

// carriers makes the plugins.
func (b *builder) carriers(ctx context.Context) error {
	var errs []error
	for _, name := range b.named() {
		if _, err := b.plugin(ctx, name); err != nil && b.optionalOnly(name) {
			delete(b.plugins, name) // its stores say what is wrong
		} else if err != nil && b.idle(name) {
			b.broken[name] = err.Error()
		} else {
			errs = append(errs, err)
		}
	}
	return config.Join(errs...)
}

// named returns the plugins that the configuration names, those included that no store uses.
func (b *builder) named() []string {
	names := slices.Collect(maps.Keys(b.cfg.Plugins))
	for store, sc := range b.cfg.Stores {
		if sc.Backend.Plugin != "" && !b.cfg.Broken(fmt.Sprintf("stores.%s.backend.plugin", store)) {
			names = append(names, sc.Backend.Plugin)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// pipelines makes the stores.
func (b *builder) pipelines(ctx context.Context) error {
	var errs []error
	for _, name := range b.order() {
		errs = append(errs, b.open(ctx, name))
	}
	return config.Join(errs...)
}

// order returns the order in which stores are built: those that name another store's
// backend come after it.
func (b *builder) order() []string {
	names := slices.Sorted(maps.Keys(b.cfg.Stores))
	slices.SortStableFunc(names, func(x, y string) int {
		return btoi(b.cfg.Stores[x].Backend.Store != "") - btoi(b.cfg.Stores[y].Backend.Store != "")
	})
	return names
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// generation returns what was built.
func (b *builder) generation() *generation {
	b.taken = true
	for _, name := range slices.Sorted(maps.Keys(b.broken)) {
		if b.broken[name] == b.old.broken[name] {
			continue
		}
		b.h.settings.Log.Warn("a plugin that no store uses is broken", "plugin", name, "error", b.broken[name])
	}
	return &generation{cfg: b.cfg, number: b.old.number + 1, since: time.Now(), plugins: b.plugins, broken: b.broken,
		names: slices.Sorted(maps.Keys(b.stores)), stores: b.stores}
}

// done ends the use that the builder itself made of things: of all, where the generation
// did not come into force.
func (b *builder) done(ctx context.Context) error {
	var errs []error
	if !b.taken {
		for _, name := range slices.Backward(slices.Sorted(maps.Keys(b.stores))) {
			if !b.kept[name] {
				errs = append(errs, b.h.release(ctx, b.stores[name]))
			}
		}
	}
	for _, opened := range slices.Backward(b.opened) {
		errs = append(errs, b.h.releaseBackend(ctx, opened))
	}
	b.opened = nil
	if !b.taken {
		for _, name := range slices.Sorted(maps.Keys(b.plugins)) {
			if p := b.plugins[name]; p != nil {
				errs = append(errs, b.h.releasePlugin(ctx, p))
			}
		}
	}
	return errors.Join(errs...)
}

// optionalOnly reports whether all stores on a plugin are optional.
func (b *builder) optionalOnly(plugin string) (only bool) {
	for name, sc := range b.cfg.Stores {
		if sc.Backend.Plugin == plugin {
			if only = b.optional(name); !only {
				return false
			}
		}
	}
	return only
}

// idle reports whether no store uses a plugin, so that the host serves although it is broken.
// A trial wants to know all that is wrong.
func (b *builder) idle(plugin string) bool {
	for _, sc := range b.cfg.Stores {
		if sc.Backend.Plugin == plugin {
			return false
		}
	}
	return !b.h.settings.Trial
}

// optional reports whether the host serves without the store. A trial wants to know all
// that is wrong, and a store that is open is not given up.
func (b *builder) optional(name string) bool {
	before := b.old.stores[name]
	return b.serve || b.cfg.Stores[name].Start == config.StartOptional && !b.h.settings.Trial && (before == nil || before.absent != nil)
}

// open builds a store. An optional one whose backend cannot be opened is opened later.
func (b *builder) open(ctx context.Context, name string) error {
	if before := b.old.stores[name]; b.only != "" && b.only != name && before.absent != nil {
		b.stores[name], b.kept[name] = before, true
		return nil
	}
	optional := b.optional(name)
	if optional {
		b.forget(b.cfg.Stores[name].Backend.Plugin)
	}
	p, err, more := b.store(ctx, name)
	switch {
	case b.serve && (err != nil || more != nil):
		b.openLater(name, config.Join(err, more))
	case err != nil && more == nil && optional && b.only == "":
		b.openLater(name, err)
	case err != nil || more != nil:
		return config.Join(err, more)
	case p != nil:
		b.stores[name] = p
	case b.serve:
		b.openLater(name, errors.New("its plugin or the store that it shares is not there"))
	}
	return nil
}

// forget has a plugin that failed tried again, and what is wrong with it said again.
func (b *builder) forget(plugin string) {
	if b.plugins[plugin] == nil {
		delete(b.plugins, plugin)
	}
	delete(b.reported, plugin)
}

// store opens the backend of a store and builds its pipeline. Where there is no backend,
// the pipeline is built all the same, for the errors in it: those are more. A nil pipeline
// without errors is that of a store whose errors were reported before.
func (b *builder) store(ctx context.Context, name string) (_ *pipeline, err, more error) {
	sc := b.cfg.Stores[name]
	path := fmt.Sprintf("stores.%s", name)
	p := &pipeline{gates: b.h.newGates(), store: name, plugin: sc.Backend.Plugin}
	switch other := sc.Backend.Store; {
	case sc.Backend.Plugin == "" && other == "": // reported
	case b.cfg.Broken(path+".backend.plugin") || b.cfg.Broken(path+".backend.store"):
	case other != "":
		err = b.share(path, other, p)
	default:
		p.backend, p.untried, err = b.backend(ctx, name)
	}
	missing := p.backend == nil
	if missing {
		p.backend = standIn(would{info: anything}, false)
	}
	b.h.hold(p)
	more = config.Join(b.stack(sc, p), require(b.cfg, path, sc.Require, p.top.Info().Caps))
	if missing || more != nil {
		return nil, err, config.Join(more, b.h.release(context.WithoutCancel(ctx), p))
	}
	if own := b.plugins[p.plugin]; own != nil {
		p.carrier = own.Kind()
	}
	if before := b.old.stores[name]; before.same(p) {
		b.kept[name] = true
		return before, nil, b.h.release(context.WithoutCancel(ctx), p)
	}
	return p, nil, nil
}

// same reports whether p, which is in force, is what o is.
func (p *pipeline) same(o *pipeline) bool {
	return p != nil && p.absent == nil && p.backend == o.backend && slices.Equal(p.stages, o.stages)
}

// share gives p the backend of another store.
func (b *builder) share(path, other string, p *pipeline) error {
	shared, ok := b.stores[other]
	switch {
	case ok && shared.absent != nil:
		return b.cfg.Root().Errorf(path+".backend.store", "the store %q, which owns the shared backend, is not open", other)
	case ok:
		p.plugin, p.carrier, p.backend, p.untried = shared.plugin, shared.carrier, shared.backend, shared.untried
		return nil
	}
	if sc, ok := b.cfg.Stores[other]; ok && sc.Backend.Store == "" {
		return nil // it failed, and has been reported
	}
	return b.cfg.Root().Errorf(path+".backend.store", "no store %q with a backend of its own", other)
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

// backend returns the one of a store: that of before, if nothing changed, or one that is opened,
// or a stand-in for one that is opened later. untried is why it is not known what that would be.
func (b *builder) backend(ctx context.Context, store string) (_ *backend, untried, err error) {
	bc := b.cfg.Stores[store].Backend
	p, err := b.plugin(ctx, bc.Plugin)
	if err != nil || p == nil || b.reported[bc.Plugin] {
		return nil, nil, err
	}
	path := fmt.Sprintf("stores.%s.backend", store)
	if b.cfg.Broken(path + ".config") {
		return nil, nil, nil
	}
	if before := b.keptBackend(store, p); before != nil {
		return before, nil, nil
	}
	if _, can := p.Carrier.(carrier.Trier); can && (b.h.settings.Trial || b.dry || b.postponed[store]) {
		tried, err := p.try(ctx, bc.Config)
		if err != nil && !errors.Is(err, storage.ErrUnsupported) {
			return nil, nil, b.failed(p, bc, path, err)
		}
		return b.h.standIn(tried, p), err, nil
	}
	if b.postponed[store] || b.dry {
		return b.h.standIn(would{info: anything}, p), nil, nil
	}
	opened, err := b.h.openBackend(ctx, p, store, bc.Config)
	if err != nil {
		return nil, nil, b.failed(p, bc, path, err)
	}
	b.opened = append(b.opened, opened)
	return opened, nil, nil
}

// failed returns why the backend at path was not opened. What is wrong with its plugin's entry is
// reported once.
func (b *builder) failed(p *plugin, bc config.Backend, path string, err error) error {
	var about *carrier.FieldError
	if errors.As(err, &about) {
		b.reported[bc.Plugin] = true
		return p.at(b.cfg, err)
	}
	return configError(b.cfg, bc.Config, path, err)
}

// openBackend opens the backend of a store. Its one user is the caller.
func (h *Host) openBackend(ctx context.Context, p *plugin, store string, own *config.Node) (*backend, error) {
	opened, err := p.Open(ctx, store, own)
	if err != nil {
		return nil, err
	}
	h.holdPlugin(p)
	b := &backend{Backend: opened, hub: h.hub(opened, p), store: store, plugin: p, config: own, shared: p.Shared(), opened: true, users: 1}
	h.measureFeed(b)
	opened.WhenLost(b.hub.StateLost)
	if err := h.unfinished(ctx, b); err != nil {
		return nil, errors.Join(err, h.releaseBackend(context.WithoutCancel(ctx), b))
	}
	return b, nil
}

// keptBackend returns the one that the store has, if neither it nor its plugin changed; nil if
// there is none, or it has failed.
func (b *builder) keptBackend(store string, p *plugin) *backend {
	before := b.old.stores[store]
	if before == nil || before.absent != nil || before.backend.store != store || before.backend.plugin != p || before.backend.gone {
		return nil
	}
	if !before.backend.config.Same(b.cfg.Stores[store].Backend.Config) || before.backend.failed() {
		return nil
	}
	return before.backend
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
