package host

import (
	"errors"
	"fmt"
	"slices"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// pipeline puts the wrappers over the hub, innermost first, and judges their
// order.
func (h *Host) pipeline(cfg *config.Config, sc config.Store, s *Store) error {
	var errs []error
	var at []int // where in the configuration the stages are, innermost first
	next := s.backend.hub.Backend()
	var watch wrappers.Watchable = s.backend.hub
	for i, stage := range slices.Backward(sc.Pipeline) {
		path := stagePath(s.name, i)
		if cfg.Broken(path) {
			continue
		}
		factory, ok := h.settings.Registry.Lookup(stage.Kind)
		if !ok {
			errs = append(errs, cfg.Root().Errorf(path, "there is no wrapper %q%s", stage.Kind, config.Hint(stage.Kind, h.settings.Registry.Kinds())))
			continue
		}
		built, err := factory.Build(next, stage.Config, wrappers.Settings{
			Store: s.name, Stage: stage.Name, Clock: h.clock.Now, Hub: watch,
			Log:    h.settings.Log.With("store", s.name, "stage", stage.Name),
			Tracer: h.settings.Tracer, Meter: h.settings.Meter})
		if err != nil {
			errs = append(errs, positioned(stage.Config, err))
			continue
		}
		below := wrappers.Below{Info: next.Info(), Shared: s.backend.shared}
		s.declared = append(s.declared, wrappers.Stage{Name: stage.Name, Kind: stage.Kind, Declaration: factory.Declare(stage.Config, below)})
		s.pipeline = append(s.pipeline, built)
		s.stages = append(s.stages, stage.Name)
		at = append(at, i)
		next = built
		if w, ok := built.(wrappers.Watchable); ok {
			watch = w
		}
	}
	slices.Reverse(s.stages)
	slices.Reverse(s.declared)
	slices.Reverse(at)
	for _, f := range wrappers.Judge(s.declared) {
		if f.Refused {
			errs = append(errs, cfg.Root().Errorf(stagePath(s.name, at[f.Stage]), "%s", f.Text))
		}
	}
	for i, stage := range s.declared {
		if stage.Does&wrappers.Injects != 0 && !cfg.AllowFaults {
			errs = append(errs, cfg.Root().Errorf(stagePath(s.name, at[i]), "%s makes calls fail on purpose, which takes allow_faults: true at the top of the configuration", stage.Name))
		}
	}
	return config.Join(errs...)
}

func stagePath(store string, i int) string { return fmt.Sprintf("stores.%s.pipeline[%d]", store, i) }

// positioned gives errors about what node says their positions.
func positioned(node *config.Node, err error) error {
	var have config.Errors
	if errors.As(err, &have) {
		return err
	}
	var errs []error
	for _, one := range flatten(err) {
		path := ""
		var field interface{ ConfigPath() string }
		if errors.As(one, &field) {
			path = field.ConfigPath()
		}
		errs = append(errs, node.Errorf(path, "%v", one))
	}
	return config.Join(errs...)
}

func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// require refuses a store that lacks what its configuration demands.
func require(cfg *config.Config, path string, names []string, have storage.Caps) error {
	var errs []error
	for i, name := range names {
		at := fmt.Sprintf("%s.require[%d]", path, i)
		c, ok := storage.ParseCap(name)
		switch {
		case !ok:
			errs = append(errs, cfg.Root().Errorf(at, "there is no capability %q%s", name, config.Hint(name, storage.CapNames())))
		case !have.Has(c):
			errs = append(errs, cfg.Root().Errorf(at, "the store lacks the capability %s; it has %s", name, have))
		}
	}
	return config.Join(errs...)
}
