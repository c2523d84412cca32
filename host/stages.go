package host

import (
	"slices"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/wrappers"
)

// stack puts the wrappers over the hub, innermost first, and judges their order. Stages
// that did not change are those of before, as long as what is below them did not either.
func (b *builder) stack(sc config.Store, p *pipeline) error {
	var errs []error
	var at []int // where in the configuration the stages are, innermost first
	p.top = p.backend.hub.Backend()
	var watch wrappers.Watchable = p.backend.hub
	before := b.old.stores[p.store]
	kept := before != nil && before.backend == p.backend
	for i, sc := range slices.Backward(sc.Pipeline) {
		path := stagePath(p.store, i)
		if b.cfg.Broken(path) {
			kept = false
			continue
		}
		var s *stage
		if n := len(p.stages); kept && n < len(before.stages) && before.stages[n].is(sc) {
			s = before.stages[n]
		} else {
			var err error
			kept = false
			if s, err = b.stage(p, before, sc, path, watch); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		b.h.holdStage(s)
		p.stages = append(p.stages, s)
		p.declared = append(p.declared, s.Stage)
		at = append(at, i)
		p.top, watch = s.Backend, s.watch
	}
	slices.Reverse(p.declared)
	slices.Reverse(at)
	for _, f := range wrappers.Judge(p.declared) {
		if f.Refused {
			errs = append(errs, b.cfg.Root().Errorf(stagePath(p.store, at[f.Stage]), "%s", f.Text))
		}
	}
	for i, stage := range p.declared {
		if stage.Does&wrappers.Injects != 0 && !b.cfg.AllowFaults {
			errs = append(errs, b.cfg.Root().Errorf(stagePath(p.store, at[i]), "%s makes calls fail on purpose, which requires allow_faults: true at the top of the configuration", stage.Name))
		}
	}
	return config.Join(errs...)
}

// is reports whether s is what the configuration says.
func (s *stage) is(sc config.Stage) bool {
	return s.Kind == sc.Kind && s.Name == sc.Name && s.config.Same(sc.Config)
}

// stage builds a stage over what p has so far. One of before that did not change hands its
// state on.
func (b *builder) stage(p, before *pipeline, sc config.Stage, path string, watch wrappers.Watchable) (*stage, error) {
	h := b.h
	factory, ok := h.settings.Registry.Lookup(sc.Kind)
	if !ok {
		return nil, b.cfg.Root().Errorf(path, "unknown wrapper %q%s", sc.Kind, config.Hint(sc.Kind, h.settings.Registry.Kinds()))
	}
	settings := wrappers.Settings{Store: p.store, Stage: sc.Name, Clock: h.clock.Now, Hub: watch,
		Log: h.settings.Log.With("store", p.store, "stage", sc.Name), Tracer: h.settings.Tracer, Meter: h.settings.Meter}
	var last *stage // that this one takes the place of
	if before != nil {
		if i := slices.IndexFunc(before.stages, func(s *stage) bool { return s.is(sc) }); i >= 0 {
			last = before.stages[i]
			settings.Before = last.Backend
		}
	}
	built, err := factory.Build(p.top, sc.Config, settings)
	if err != nil {
		return nil, positioned(sc.Config, err)
	}
	below := wrappers.Below{Info: p.top.Info(), Shared: p.backend.shared, Notices: p.backend.notices()}
	s := &stage{Backend: built, Stage: wrappers.Stage{Name: sc.Name, Kind: sc.Kind, Declaration: factory.Declare(sc.Config, below)}, config: sc.Config, below: watch, watch: watch}
	if w, ok := built.(wrappers.Watchable); ok {
		if s.watch = w; last != nil && last.below == watch { // it calls the same keys by the same names
			s.watch = last.watch
		}
	}
	return s, nil
}

func (h *Host) holdStage(s *stage) {
	h.counts.Lock()
	defer h.counts.Unlock()
	s.users++
}
