package plinth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/internal/pgtest"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/plugins/postgres"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
)

// Some wrappers alone, and the pipeline of the built-in configuration, keep the
// contract over the memory backend as a module, which is what Open builds; the
// pipeline also over the same linked in, and so does every other wrapper: see
// wrappers_test.go.

func TestDefaultPipelineConformance(t *testing.T) {
	clock := storagetest.NewClock()
	storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
		env := sdk.Env{Now: clock.Now}
		rand.Read(env.Incarnation[:])
		return pipeline(forgetful{memory.New(memory.DefaultConfig(), env)}, "", clock)
	}})
}

// The same over a durable store, which is closed and opened again.
func TestDefaultPipelineConformanceOnDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("the pipeline's kit, and that of the store, run by themselves")
	}
	clock := storagetest.NewClock()
	var dir string
	start := func(ctx context.Context) (storage.Backend, error) {
		below, err := pebble.Open(ctx, sdk.Env{Now: clock.Now, Dir: dir, Config: []byte(`{"cache": "1MiB", "write_buffer": "1MiB"}`)})
		if err != nil {
			return nil, err
		}
		return pipeline(below, "", clock)
	}
	storagetest.Run(t, storagetest.Factory{Again: true, Clock: clock, Reopen: start, Open: func(ctx context.Context) (storage.Backend, error) {
		dir = t.TempDir()
		return start(ctx)
	}})
}

// builtInForShortKeys is the built-in pipeline with a limit of keys that PostgreSQL can index.
const builtInForShortKeys = "[instrument, size_limits: { key: 2560, value: 4MiB }, cache: { max_bytes: 64MiB, ttl: 60s }, batch: { max_ops: 1000, max_bytes: 8MiB, linger: 0s }]"

// The same over a store on a server, which stays while its backend is closed and opened again.
// It is asked as it is behind a pooler: without prepared statements.
func TestDefaultPipelineConformanceOnPostgreSQL(t *testing.T) {
	if testing.Short() {
		t.Skip("the pipeline's kit, and that of the store, run by themselves")
	}
	server, err := pgtest.New()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Remove()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	clock := storagetest.NewClock()
	tables := 0
	start := func(ctx context.Context) (storage.Backend, error) {
		below, err := postgres.Open(ctx, sdk.Env{Now: clock.Now, Config: fmt.Appendf(nil, `{"dsn": %q, "table": "kit%d", "create": true, "prepared": "off"}`, server.DSN("postgres"), tables%4)})
		if err != nil {
			return nil, err
		}
		all, err := pipeline(below, builtInForShortKeys, clock)
		if err != nil {
			return nil, errors.Join(err, below.Close(ctx))
		}
		return all, nil
	}
	storagetest.Run(t, storagetest.Factory{Again: true, Clock: clock, Reopen: start, Open: func(ctx context.Context) (storage.Backend, error) {
		tables++
		if err := server.Empty(ctx, fmt.Sprintf("kit%d", tables%4)); err != nil {
			return nil, err
		}
		return start(ctx)
	}})
}

// overModule are the pipelines whose kit runs over the memory backend as a module.
var overModule = map[string]string{
	"default pipeline": "",
	"cache":            "[cache]",
	"instrument":       "[instrument]",
	"size_limits":      "[size_limits: { key: 1KiB, value: 1MiB, rows: 100 }]",
}

func TestConformanceOverAModule(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, where the kits of the module and of each wrapper run by themselves")
	}
	clock := storagetest.NewClock()
	r, err := wasmhost.NewRuntime(t.Context(), compiled(t))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	m, err := r.Load(t.Context(), module.Wasm, wasmhost.Options{Name: "memory", BuiltIn: true, Trusted: true, Memory: 2 << 30,
		Clock: clock.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.Background())
	for name, stages := range overModule {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(ctx context.Context) (storage.Backend, error) {
				below, err := m.Open(ctx, nil)
				if err != nil {
					return nil, err
				}
				return pipeline(below, stages, clock)
			}})
		})
	}
}

// compiled is where compiled modules are kept between runs: compiling takes
// seconds, under the race detector a minute.
func compiled(t *testing.T) string {
	dir, err := os.UserCacheDir()
	if dir = filepath.Join(dir, "plinth-test", "compiled"); err != nil || wasmhost.CheckCacheDir(dir) != nil {
		return t.TempDir()
	}
	return dir
}

// errRefused is that a host refuses the order of a pipeline.
var errRefused = errors.New("the order of the stages is refused")

// pipeline is the one of a configuration, of the built-in one where stages is
// empty, over below. Its Close closes all of it.
func pipeline(below storage.Backend, stages string, clock *storagetest.Clock) (storage.Backend, error) {
	var o config.Options
	if stages != "" {
		o.Content = []byte("stores: { default: { backend: { plugin: memory }, pipeline: " + stages + " } }")
	}
	cfg, err := config.Load(o)
	if err != nil {
		return nil, err
	}
	registry, err := wrappers.NewRegistry(plinth.Wrappers()...)
	if err != nil {
		return nil, err
	}
	hub := wrappers.NewHub(below)
	hub.KeepChanges(clock.Now)
	built, top := []storage.Backend{below}, hub.Backend()
	var watch wrappers.Watchable = hub
	var declared []wrappers.Stage
	for _, stage := range slices.Backward(cfg.Stores["default"].Pipeline) {
		factory, ok := registry.Lookup(stage.Kind)
		if !ok {
			return nil, errors.New("unknown wrapper " + stage.Kind)
		}
		declared = append([]wrappers.Stage{{Name: stage.Name, Declaration: factory.Declare(stage.Config, wrappers.Below{Info: top.Info()})}}, declared...)
		top, err = factory.Build(top, stage.Config, wrappers.Settings{Store: "default", Stage: stage.Name, Clock: clock.Now, Hub: watch})
		if err != nil {
			return nil, err
		}
		built = append(built, top)
		if w, ok := top.(wrappers.Watchable); ok {
			watch = w
		}
	}
	for _, found := range wrappers.Judge(declared) {
		if found.Refused {
			return nil, errRefused
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
