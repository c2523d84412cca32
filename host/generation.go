package host

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// generation holds what one configuration made. It does not change once it is in force;
// what did not change between two is in both, and counts its users.
type generation struct {
	cfg       *config.Config
	number    int
	since     time.Time
	plugins   map[string]*plugin // by name; nil if it failed
	broken    map[string]string  // why, by name, of those that no store uses
	pipelines []*pipeline        // by slot; those of stores that are gone are absent
	names     []string           // of its stores, in order
	stores    map[string]*pipeline
}

// at returns the pipeline in a slot.
func (g *generation) at(slot int) *pipeline { return g.pipelines[slot] }

// backends returns those that are open, each once.
func (g *generation) backends() []*backend {
	var all []*backend
	for _, name := range g.names {
		if b := g.stores[name].backend; b.opened && !slices.Contains(all, b) {
			all = append(all, b)
		}
	}
	return all
}

// pipeline is a store in one generation: stages over a backend.
type pipeline struct {
	gates
	store    string
	plugin   string
	carrier  string
	stages   []*stage         // innermost first
	declared []wrappers.Stage // outermost first
	backend  *backend
	top      storage.Backend
	untried  error   // why a trial cannot determine its Info
	absent   *absent // stands in for a backend that is not open, or nil
}

// stage is a wrapper that was built, with how many pipelines it is in.
type stage struct {
	storage.Backend
	wrappers.Stage
	config *config.Node
	below  wrappers.Watchable // the writes to what it stands on
	watch  wrappers.Watchable // the same, by the names of keys above it
	users  int
}

// backend is an opened plugin, with the hub that all stores over it share, and with how
// many pipelines it is in.
type backend struct {
	storage.Backend
	hub    *wrappers.Hub
	store  string // that it was opened for
	plugin *plugin
	config *config.Node
	shared bool // others may write to it, past this host
	opened bool // it is no stand-in
	gone   bool // it was closed, for another to take its place
	users  int
}

// below returns what the innermost stage stands on.
func (b *backend) below() wrappers.Below {
	return wrappers.Below{Info: b.Info(), Shared: b.shared, Notices: b.notices()}
}

// notices reports whether the backend announces that others have written, but not what.
func (b *backend) notices() bool { return b.Info().Caps.Has(storage.CapChangeNotice) }

// failed reports whether the plugin has failed for good, or cannot be started now: its
// state is lost.
func (b *backend) failed() bool {
	w, ok := b.Backend.(carrier.Supervised)
	return ok && w.Status().State == supervise.Failed
}

// durable reports whether its items survive its end.
func (b *backend) durable() bool { return b.Info().Caps.Has(storage.CapDurable) }

// standIn returns a stand-in for a backend of p.
func (h *Host) standIn(b storage.Backend, p *plugin) *backend {
	return &backend{Backend: b, hub: h.hub(b, p), shared: p.Shared()}
}

// standIn returns a backend in the place of one that is not open.
func standIn(b storage.Backend, shared bool) *backend {
	return &backend{Backend: b, hub: wrappers.NewHub(b), shared: shared}
}

// hold counts one more user of everything in p.
func (h *Host) hold(p *pipeline) {
	h.counts.Lock()
	defer h.counts.Unlock()
	for _, s := range p.stages {
		s.users++
	}
	p.backend.users++
}

// release counts one user less of everything in p, and closes what has none any more,
// outermost first.
func (h *Host) release(ctx context.Context, p *pipeline) error {
	h.counts.Lock()
	var over []func(context.Context) error
	for _, s := range slices.Backward(p.stages) {
		if s.users--; s.users == 0 {
			over = append(over, s.Close)
		}
	}
	h.counts.Unlock()
	return errors.Join(closeAll(ctx, over), h.releaseBackend(ctx, p.backend))
}

func (h *Host) releaseBackend(ctx context.Context, b *backend) error {
	h.counts.Lock()
	b.users--
	last := b.users == 0
	h.counts.Unlock()
	if !last || !b.opened {
		return nil
	}
	return errors.Join(b.Close(ctx), h.releasePlugin(ctx, b.plugin))
}

func (h *Host) holdPlugin(p *plugin) {
	h.counts.Lock()
	defer h.counts.Unlock()
	p.users++
}

func (h *Host) releasePlugin(ctx context.Context, p *plugin) error {
	h.counts.Lock()
	p.users--
	last := p.users == 0
	h.counts.Unlock()
	if !last {
		return nil
	}
	return p.Close(ctx)
}

func closeAll(ctx context.Context, all []func(context.Context) error) error {
	var errs []error
	for _, f := range all {
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

// leave notes that pipelines are no longer in force, until left: calls may still be in them.
func (h *Host) leave(all []*pipeline) {
	h.counts.Lock()
	defer h.counts.Unlock()
	if h.leaving == nil {
		h.leaving = map[*pipeline]bool{}
	}
	for _, p := range all {
		h.leaving[p] = true
	}
}

func (h *Host) left(p *pipeline) {
	h.counts.Lock()
	defer h.counts.Unlock()
	delete(h.leaving, p)
}

// retireAll waits, in the background, for the calls in pipelines that are no longer in
// force, and then releases them and the plugins of their generation.
func (h *Host) retireAll(over []*pipeline, old *generation) {
	h.leave(over)
	h.background.Go(func() {
		ctx := context.Background()
		var errs []error
		for _, p := range over {
			_ = p.drained(h.running) // at the end of the host, backends wait for their calls themselves
			h.left(p)
			errs = append(errs, h.release(ctx, p))
		}
		for _, p := range old.plugins {
			if p != nil {
				errs = append(errs, h.releasePlugin(ctx, p))
			}
		}
		if err := errors.Join(errs...); err != nil {
			h.settings.Log.Warn("what a reload replaced could not be closed", "error", err)
		}
	})
}
