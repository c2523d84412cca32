package procs_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
)

// asPlugin says to the test program to be a plugin, and which.
const asPlugin = "PLINTH_TEST_PLUGIN"

// The test program is its own plugin, so that what is tested is what was compiled
// with it, race detector included.
func TestMain(m *testing.M) {
	if name := os.Getenv(asPlugin); name != "" {
		play(name)
		return
	}
	goleak.VerifyTestMain(m)
}

// play is a plugin.
func play(name string) {
	switch name {
	case "memory":
		process.Plugin{Open: memory.Open, Try: sdk.TryByOpening(memory.Open)}.Serve()
	case "durable": // one that says that nothing is lost with it
		process.Serve(func(ctx context.Context, e sdk.Env) (storage.Backend, error) {
			b, err := memory.Open(ctx, e)
			return durable{b}, err
		})
	case "host":
		beHost()
	case "waits": // the same, as one whose calls may wait
		process.Serve(func(ctx context.Context, e sdk.Env) (storage.Backend, error) {
			b, err := memory.Open(ctx, e)
			if err != nil {
				return nil, err
			}
			hub := wrappers.NewHub(b) // which has changes, and waits for them
			hub.KeepChanges(e.Now)
			return storagetest.WithClose(hub.Backend(), b.Close), nil
		})
	default:
		if bad := badPlugins()[name]; bad != nil {
			bad()
			return
		}
		fmt.Fprintln(os.Stderr, "there is no plugin", name)
		os.Exit(1)
	}
}

// durable claims what the memory backend does not do.
type durable struct{ storage.Backend }

func (d durable) Info() storage.Info {
	i := d.Backend.Info()
	i.Caps |= storage.CapDurable
	return i
}

// options are those of a plugin of this program.
func options(t testing.TB, name string) procs.Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A program with the race detector in it takes a second to exit, otherwise.
	env := map[string]string{asPlugin: name, "GORACE": "atexit_sleep_ms=0"}
	return procs.Options{Name: name, Command: []string{self}, Env: carrier.EnvOf(env), Plaintext: true,
		Log: slog.New(slog.DiscardHandler), Start: time.Minute}
}

func newPlugin(t testing.TB, o procs.Options) *procs.Plugin {
	t.Helper()
	p, err := procs.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t testing.TB, o procs.Options) *procs.Backend {
	t.Helper()
	b, err := newPlugin(t, o).Open(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// The memory backend as a process is held to what it is held to linked in, however
// it is asked: by frames that workers take, and over gRPC. (By frames that are
// answered where they are read package isolate asks its own, under the same kit.)
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name, plugin string
		plain        bool
	}{{"frames, by workers", "waits", false}, {"gRPC", "waits", true}} {
		if c.plain && testing.Short() {
			continue // frames have the most to do with goroutines
		}
		t.Run(c.name, func(t *testing.T) {
			clock := storagetest.NewClock()
			o := options(t, c.plugin)
			o.Plain, o.Clock = c.plain, clock.Now
			p := newPlugin(t, o)
			storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(ctx context.Context) (storage.Backend, error) {
				return p.Open(ctx, "", nil)
			}})
		})
	}
}
