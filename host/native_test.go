package host_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// own is a backend in Go that the test program has linked in, as host and as worker.
var own = plinth.WithBackend("own", memory.Open, plinth.TriedBy(sdk.TryByOpening(memory.Open)))

// A backend that is linked in is one like any other: YAML names it, with what it requires,
// its own configuration and a pipeline, in this process or in one of its own.
func TestLinkedIn(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for isolation, carrier := range map[string]string{"none": host.CarrierNative, "process": host.CarrierProcess} {
		t.Run(isolation, func(t *testing.T) {
			h, err := open(t, `
plugins: { own: { isolation: `+isolation+`, on_loss: restart } }
stores: { a: { backend: { plugin: own, config: { max_bytes: 1MiB } }, require: [atomic, ttl], pipeline: [instrument, cache] } }`, own, plinth.WithWorker(self(t)), quiet)
			if err != nil {
				t.Fatal(err)
			}
			a, err := h.Store("a")
			if err != nil {
				t.Fatal(err)
			}
			if a.Carrier() != carrier || a.Plugin() != "own" || a.Shared() {
				t.Errorf("%s, %s, shared %t", a.Carrier(), a.Plugin(), a.Shared())
			}
			if err := a.Set(ctx, []byte("k"), []byte("v")); err != nil {
				t.Fatal(err)
			}
			if v, err := a.Get(ctx, []byte("k")); err != nil || string(v) != "v" {
				t.Errorf("%q, %v", v, err)
			}
			if err := a.Set(ctx, []byte("k"), make([]byte, 2<<20)); !errors.Is(err, storage.ErrNoSpace) {
				t.Errorf("beyond max_bytes: %v", err)
			}
			if err := h.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// Without an entry a linked-in backend runs as it was linked in; the last option of a name
// counts, so that memory can be a module, or another backend altogether.
func TestLinkedInByDefault(t *testing.T) {
	for name, c := range map[string]struct {
		plugin string
		opts   []plinth.Option
		want   string
	}{
		"none":     {"memory", []plinth.Option{plinth.WithBackend("memory", memory.Open)}, host.CarrierNative},
		"isolated": {"own", []plinth.Option{plinth.WithBackend("own", memory.Open, plinth.Isolated()), plinth.WithWorker(self(t))}, host.CarrierProcess},
		"module":   {"memory", nil, host.CarrierWasm}, // as the helper has it
	} {
		h := mustOpen(t, "stores: { a: { backend: { plugin: "+c.plugin+" } } }", append(c.opts, quiet)...)
		if got := h.Stores()[0].Carrier(); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestLinkedInErrors(t *testing.T) {
	for name, c := range map[string]struct{ plugins, config, want string }{
		"its own settings": {"", "max_byts: 1MiB", `stores.a.backend.config.max_byts: plugin own: unknown field "max_byts": did you mean "max_bytes"?`},
		"a file":           {"own: { wasm: own.wasm }", "", "plugins.own.wasm: cannot be set: own is built in"},
		"a limit":          {"own: { limits: { memory: 1GiB } }", "", "plugins.own.limits: does not belong to a plugin that is a linked-in backend"},
		"isolation":        {"own: { isolation: both }", "", "plugins.own.isolation: must be process or none"},
		"no worker":        {"own: { isolation: process }", "", "plugins.own.isolation: process requires a worker program"},
	} {
		h, err := open(t, "plugins: { "+c.plugins+" }\nstores: { a: { backend: { plugin: own, config: { "+c.config+" } } } }", own, quiet)
		if err == nil {
			t.Errorf("%s: it opens", name)
			_ = h.Close(ctx)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// A trial opens what can be tried, and says of what cannot that it was not.
func TestLinkedInTrial(t *testing.T) {
	opened := 0
	open := func(yaml string, opts ...plinth.BackendOption) *plinth.Store {
		counting := func(ctx context.Context, env sdk.Env) (storage.Backend, error) {
			opened++
			return memory.Open(ctx, env)
		}
		return mustOpen(t, yaml, plinth.WithBackend("own", counting, opts...), plinth.WithTrial(), quiet).Stores()[0]
	}
	const yaml = "stores: { a: { backend: { plugin: own }, require: [ttl] } }"
	if s := open(yaml); s.Untried() == nil || opened != 0 {
		t.Errorf("%v, opened %d times", s.Untried(), opened)
	}
	if s := open(yaml, plinth.TriedBy(sdk.TryByOpening(memory.Open))); s.Untried() != nil || opened != 0 || !s.Info().Caps.Has(storage.CapTTL) {
		t.Errorf("%v, opened %d times, %v", s.Untried(), opened, s.Info().Caps)
	}
}
