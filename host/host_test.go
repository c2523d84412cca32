package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

var ctx = context.Background()

// open builds what yaml says.
func open(t *testing.T, yaml string, opts ...plinth.Option) (*plinth.Host, error) {
	t.Helper()
	cache, err := os.UserCacheDir()
	cache = filepath.Join(cache, "plinth-test", "compiled")
	if err != nil || wasmhost.CheckCacheDir(cache) != nil { // compiling takes seconds, but it is no error
		cache = t.TempDir()
	}
	opts = append([]plinth.Option{plinth.WithModule("memory", module.Wasm), plinth.WithContent([]byte(yaml)), plinth.WithCacheDir(cache)}, opts...)
	return plinth.Open(ctx, filepath.Join(t.TempDir(), "plinth.yaml"), opts...)
}

func mustOpen(t *testing.T, yaml string, opts ...plinth.Option) *plinth.Host {
	t.Helper()
	h, err := open(t, yaml, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

// Two stores on one backend see each other's writes at once, whatever their
// caches hold; a third has a backend of its own.
func TestSharedBackend(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	h, err := open(t, `
stores:
  a: { backend: { plugin: memory }, pipeline: [cache] }
  b: { backend: { store: a }, pipeline: [cache, size_limits: { value: 3 }] }
  c: { backend: { plugin: memory } }
`)
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := storeOf(t, h, "a"), storeOf(t, h, "b"), storeOf(t, h, "c")
	key := []byte("k")
	for _, value := range []string{"1", "2", "3"} {
		if err := a.Set(ctx, key, []byte(value)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := b.Get(ctx, key); err != nil || string(got) != value {
				t.Fatalf("b sees %q, %v after %q through a", got, err, value)
			}
		}
		if err := b.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Get(ctx, key); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("a sees a key that b has deleted: %v", err)
		}
	}
	if err := b.Set(ctx, key, []byte("long")); !errors.Is(err, storage.ErrSizeLimit) {
		t.Error(err)
	}
	if err := a.Set(ctx, key, []byte("long")); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(ctx, key); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("c is another backend: %v", err)
	}
	if got := strings.Join(b.Stages(), " "); got != "cache size_limits" {
		t.Errorf("stages %q", got)
	}
	for range 2 {
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	if err := a.Set(ctx, key, nil); !errors.Is(err, storage.ErrShuttingDown) {
		t.Errorf("after Close: %v", err)
	}
}

// Errors beyond the file itself are reported with their places, all at once.
func TestErrors(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for name, c := range map[string]struct {
		yaml string
		want []string
	}{
		"capability": {`
stores: { a: { backend: { plugin: memory }, require: [durable, atomc] } }`,
			[]string{"plinth.yaml:2:55: stores.a.require[0]: the store does not have the capability durable; it has versions,ttl,",
				"plinth.yaml:2:64: stores.a.require[1]: unknown capability \"atomc\": did you mean \"atomic\"?"}},
		"shared": {`
stores:
  a: { backend: { store: b } }
  b: { backend: { store: a } }
  c: { backend: { store: none } }
  d: { backend: { store: d, plugin: memory } }`,
			[]string{"stores.a.backend.store: no store \"b\" with a backend of its own", "stores.b.backend.store: no store \"a\"",
				"stores.c.backend.store: no store \"none\"", "stores.d.backend.store: cannot be combined with plugin"}},
		"limits": {`
plugins: { memory: { limits: { memory: 64MiB } } }
stores: { a: { backend: { plugin: memory, config: { max_bytes: 64MiB } } } }`,
			[]string{"stores.a.backend.config.max_bytes: plugin memory: limits.memory is 67108864, with max_bytes of 67108864 it must be at least 201326592: the module requires 134217728 in addition to max_bytes"}},
		"misspelt": {`
stores: { a: { backend: { plugn: memory } } }`,
			[]string{"stores.a.backend.plugn: unknown key \"plugn\": did you mean \"plugin\"?"}},
		"memory": {`
plugins: { memory: { limits: { memory: 64KiB } } }`,
			[]string{"plugins.memory: plugin memory: limits.memory is 65536 bytes, but the module starts with more"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := open(t, c.yaml)
			if err == nil {
				h.Close(ctx)
				t.Fatal("it opens")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
			if n := strings.Count(err.Error(), "\n") + 1; n != len(c.want) {
				t.Errorf("%d errors, want %d:\n%v", n, len(c.want), err)
			}
		})
	}
}

// The host closes stages from the outside in, then the backend, also when a
// stage could not be built.
func TestLifecycle(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var log []string
	type config struct {
		Fail bool `yaml:"fail"`
	}
	spy := wrappers.NewFactory("spy", wrappers.Declaration{}, func() config { return config{} },
		func(next storage.Backend, c config, s wrappers.Settings) (storage.Backend, error) {
			if c.Fail {
				return nil, errors.New("no")
			}
			log = append(log, "open "+s.Stage)
			return &spyBackend{next, func() { log = append(log, "close "+s.Stage) }}, nil
		})
	h := mustOpen(t, `
stores: { a: { backend: { plugin: memory }, pipeline: [spy: { name: out }, spy: { name: in }] } }`, plinth.WithWrappers(spy))
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(log, ", "); got != "open in, open out, close out, close in" {
		t.Error(got)
	}
	log = nil
	if _, err := open(t, `
stores: { a: { backend: { plugin: memory }, pipeline: [spy: { name: out, fail: true }, spy: { name: in }] } }`, plinth.WithWrappers(spy)); err == nil {
		t.Fatal("it opens")
	}
	if got := strings.Join(log, ", "); got != "open in, close in" {
		t.Error(got)
	}
	if _, err := open(t, ``, plinth.WithWrappers(spy, spy)); err == nil || !strings.Contains(err.Error(), `two wrappers are called "spy"`) {
		t.Error(err)
	}
}

type spyBackend struct {
	storage.Backend
	closed func()
}

func (s *spyBackend) Close(context.Context) error { s.closed(); return nil }

// Environment and overrides reach into a pipeline.
func TestLayers(t *testing.T) {
	h := mustOpen(t, `
stores: { a: { backend: { plugin: memory }, pipeline: [size_limits: { key: 100 }] } }`,
		plinth.WithEnviron([]string{"PLINTH_STORES__A__PIPELINE__SIZE_LIMITS__KEY=5", "PLINTH_STORES__A__PIPELINE__SIZE_LIMITS__VALUE=7B"}),
		plinth.WithOverrides(map[string]string{"stores.a.pipeline.size_limits.value": "6"}))
	if l := storeOf(t, h, "a").Info().Limits; l.Key != 5 || l.Value != 6 {
		t.Errorf("%+v", l)
	}
	if s, err := h.Store("default"); s != nil || storage.CodeOf(err) != storage.InvalidArgument || !strings.Contains(err.Error(), `unknown store "default": known are a`) {
		t.Error("a file that names stores keeps the built-in one")
	}
}

// The compilation cache is refused where others can write to it.
func TestCacheDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := plinth.Open(ctx, "", plinth.WithCacheDir(dir)); err == nil || !strings.Contains(err.Error(), "can be written by others") {
		t.Error(err)
	}
}

// storeOf is the store of that name, which has to be there.
func storeOf(t testing.TB, h *plinth.Host, name string) *plinth.Store {
	t.Helper()
	s, err := h.Store(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
