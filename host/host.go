package host

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
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

// Settings holds what code passes to a host in addition to its configuration.
type Settings struct {
	// Registry holds the wrappers that pipelines may name.
	Registry *wrappers.Registry
	// Modules holds the modules of plugins without a file, by name. They are trusted.
	Modules map[string][]byte
	// Backends holds the plugins in Go that are linked into the program, by name. A backend
	// replaces the module of the same name.
	Backends map[string]*Linked
	// CacheDir keeps compiled modules between runs. If empty, they are kept only in memory.
	CacheDir string
	// Worker names the command of a program that runs plugins in a separate process: it must
	// call plinth.RunWorker first. Optional.
	Worker []string
	// Clock drives the host's clock, by which items expire. It may jump; the host's clock
	// never goes back. If nil, the host's clock is [clock.System].
	Clock func() time.Time
	Log   *slog.Logger // if nil, slog.Default()

	// Trial opens no backend that another host may have open: processes check their
	// configuration in an empty folder, and report their capabilities. [Store.Untried]
	// returns what could not be checked that way. The stores of such a host serve nothing.
	Trial bool

	// Kit tests a plugin with gate: full. If nil, gate: full is refused.
	Kit func(context.Context, Subject) error

	// PluginTelemetry holds OpenTelemetry's declarative configuration for processes with
	// grants.telemetry. Optional.
	PluginTelemetry []byte

	Tracer trace.TracerProvider // provider for spans; if nil, no spans are recorded
	Meter  metric.MeterProvider // provider for metrics; if nil, no metrics are recorded
}

// Subject gives the conformance kit a plugin to test.
type Subject = carrier.Subject

// Linked describes a plugin in Go that is linked into the program.
type Linked = carrier.Linked

// Host owns the plugins, the backends and the stores of a configuration, which may change
// while it runs: see [Host.Reload]. It is safe for concurrent use.
type Host struct {
	settings Settings
	unwatch  func()       // ends the log of the clock
	unstat   func() error // ends the metrics
	reloads  metric.Int64Counter
	behind   metric.Float64Histogram // how far behind followers of changes are; nil without a meter
	clock    *clock.Clock            // the one by which expiries are made and judged
	runtime  *wasmhost.Runtime
	carriers []carrier.Factory

	live     atomic.Pointer[generation]
	changing chan struct{}      // holds one token: who has it may change what is in force
	held     atomic.Int64       // calls that wait for a backend that is being replaced
	counts   sync.Mutex         // guards users and leaving
	leaving  map[*pipeline]bool // no longer in force, with calls that began before

	mu      sync.Mutex
	handles map[string]*Store // all that there ever were, by name
	last    Reload

	running    context.Context // until Close
	end        context.CancelFunc
	background sync.WaitGroup // what runs apart from calls
	phase      func(string)   // called with the phase of a reload, in tests; may be nil
}

// Open builds everything that cfg configures. The error reports every mistake at once, with
// its position in the configuration; then nothing stays open.
func Open(ctx context.Context, cfg *config.Config, s Settings) (_ *Host, err error) {
	if s.Log == nil {
		s.Log = slog.Default()
	}
	h := &Host{settings: s, handles: map[string]*Store{}, changing: make(chan struct{}, 1)}
	h.running, h.end = context.WithCancel(context.Background())
	h.clock, h.unwatch = newClock(s.Clock, s.Log)
	h.live.Store(&generation{cfg: cfg})
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
	if err := h.newFeed(); err != nil {
		return nil, err
	}
	b := h.builder(cfg)
	defer func() { err = errors.Join(err, b.done(context.WithoutCancel(ctx))) }()
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	h.publish(b.generation())
	b.keepTrying()
	if h.unstat, err = h.measure(); err != nil {
		return nil, err
	}
	return h, nil
}

// Store returns the store of that name. If the name is unknown, the error is
// InvalidArgument and suggests the nearest name.
func (h *Host) Store(name string) (*Store, error) {
	g := h.live.Load()
	if _, ok := g.stores[name]; ok {
		return h.handle(name), nil
	}
	return nil, storage.Errorf(storage.InvalidArgument, "unknown store %q%s", name, config.Hint(name, g.names))
}

// Stores returns all stores, by name.
func (h *Host) Stores() []*Store {
	var all []*Store
	for _, name := range h.live.Load().names {
		all = append(all, h.handle(name))
	}
	return all
}

// handle returns the one of that name, which stays the same as long as the host lives.
func (h *Host) handle(name string) *Store {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, ok := h.handles[name]; ok {
		return s
	}
	f := &front{h, len(h.handles), name}
	s := &Store{Store: storage.New(f, storage.Settings{Clock: h.clock.Now, Borrowed: true}), front: f}
	h.handles[name] = s
	return s
}

// publish puts g in the place of the generation in force: all stores at once. It returns
// the pipelines that were in force, and are not any more. Whoever calls it has the token of
// changing.
func (h *Host) publish(g *generation) (over []*pipeline) {
	old := h.live.Load()
	for _, name := range g.names {
		h.handle(name)
	}
	h.mu.Lock()
	g.pipelines = make([]*pipeline, len(h.handles))
	for name, s := range h.handles {
		p := g.stores[name]
		if p == nil {
			p = &pipeline{gates: h.newGates(), store: name, top: newAbsent(false, errRemoved.Error())}
		}
		g.pipelines[s.front.slot] = p
	}
	h.mu.Unlock()
	h.live.Store(g)
	for _, p := range old.pipelines {
		if g.stores[p.store] == p || p.backend == nil {
			continue
		}
		over = append(over, p)
		p.writes.Shut()
		p.reads.Shut()
		close(p.moved)
	}
	return over
}

// change waits for its turn to change what is in force. Whoever has it ends it by done.
func (h *Host) change(ctx context.Context) (done func(), err error) {
	select {
	case h.changing <- struct{}{}:
		if h.running.Err() == nil {
			return func() { <-h.changing }, nil
		}
		<-h.changing
	case <-ctx.Done():
		return nil, storage.ContextError(ctx)
	case <-h.running.Done():
	}
	return nil, &storage.Error{Code: storage.ShuttingDown, Msg: "the host is closed"}
}

// Close closes the stages of every pipeline, outermost first, then the backends,
// then the plugins. Calls in flight end before their backend does. It is
// idempotent. If ctx ends first, it returns an error, and the rest stays open.
func (h *Host) Close(ctx context.Context) error {
	h.end()
	h.unwatch()
	h.changing <- struct{}{} // a change that goes on ends first
	defer func() { <-h.changing }()
	h.background.Wait()
	var errs []error
	if h.unstat != nil {
		errs = append(errs, h.unstat())
	}
	g := h.live.Load()
	closed := &generation{cfg: g.cfg, number: g.number, since: g.since, names: g.names, stores: g.stores, pipelines: g.pipelines}
	if !h.live.CompareAndSwap(g, closed) || g.plugins == nil { // closed before
		return errors.Join(errs...)
	}
	for _, name := range g.names {
		errs = append(errs, h.release(ctx, g.stores[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(g.plugins)) {
		if p := g.plugins[name]; p != nil {
			errs = append(errs, h.releasePlugin(ctx, p))
		}
	}
	if h.runtime != nil {
		errs = append(errs, h.runtime.Close(ctx))
	}
	return errors.Join(errs...)
}
