package ledger_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
)

// The contract holds under the pipeline that the built-in configuration has: all of
// it, where the empty key is another one below.
func TestConformanceUnderTheDefaultPipeline(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a minute under the race detector, where the kit runs over the backend alone")
	}
	clock := wholeSecond()
	f := factory(clock)
	f.Again = true
	storagetest.Run(t, behind(f, func(b storage.Backend) (storage.Backend, error) { return overAPrefix(b, clock) }), largeRanges)
}

// overAPrefix is the default pipeline over a prefix of b.
func overAPrefix(b storage.Backend, clock *storagetest.Clock) (storage.Backend, error) {
	below, err := prefixed(b)
	if err != nil {
		return nil, err
	}
	return defaultPipeline(below, clock)
}

// defaultPipeline is the one of the built-in configuration over below, with the
// limits that it has to have there: it refuses to be built with larger ones.
func defaultPipeline(below storage.Backend, clock *storagetest.Clock) (storage.Backend, error) {
	cfg, err := config.Load(config.Options{Flags: map[string]string{
		"stores.default.pipeline.size_limits.key": "510", "stores.default.pipeline.size_limits.value": "8KiB"}})
	if err != nil {
		return nil, err
	}
	registry, err := wrappers.NewRegistry(plinth.Wrappers()...)
	if err != nil {
		return nil, err
	}
	hub := wrappers.NewHub(below)
	var built []storage.Backend
	top := hub.Backend()
	var watch wrappers.Watchable = hub
	for _, stage := range slices.Backward(cfg.Stores["default"].Pipeline) {
		factory, ok := registry.Lookup(stage.Kind)
		if !ok {
			return nil, errors.New("there is no wrapper " + stage.Kind)
		}
		if top, err = factory.Build(top, stage.Config, wrappers.Settings{Store: "default", Stage: stage.Name, Clock: clock.Now, Hub: watch}); err != nil {
			return nil, err
		}
		built = append(built, top)
		if w, ok := top.(wrappers.Watchable); ok {
			watch = w
		}
	}
	return storagetest.WithClose(top, func(ctx context.Context) error {
		var errs []error
		for _, stage := range slices.Backward(built) {
			errs = append(errs, stage.Close(ctx))
		}
		return errors.Join(errs...)
	}), nil
}
