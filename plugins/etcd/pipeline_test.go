//go:build unix

package etcd

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

// The contract holds under the pipeline of the built-in configuration, with the size of
// values that a request to a cluster has room for.
func TestConformanceUnderTheDefaultPipeline(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, where the kit runs over the backend alone")
	}
	if !alone(t) {
		return
	}
	c := forKit(t)
	clock := storagetest.NewClock()
	var prefix string
	start := func(ctx context.Context) (storage.Backend, error) {
		below, err := Open(ctx, c.env(prefix, clock.Now))
		if err != nil {
			return nil, err
		}
		return defaultPipeline(below, clock)
	}
	storagetest.Run(t, storagetest.Factory{
		Again:  true,
		Clock:  clock,
		Open:   func(ctx context.Context) (storage.Backend, error) { prefix = aPrefix(); return start(ctx) },
		Reopen: start,
	}, lateExpiries())
}

func defaultPipeline(below storage.Backend, clock *storagetest.Clock) (storage.Backend, error) {
	cfg, err := config.Load(config.Options{Flags: map[string]string{"stores.default.pipeline.size_limits.value": "1MiB"}})
	if err != nil {
		return nil, err
	}
	registry, err := wrappers.NewRegistry(plinth.Wrappers()...)
	if err != nil {
		return nil, err
	}
	hub := wrappers.NewHub(below)
	built, top := []storage.Backend{below}, hub.Backend()
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
