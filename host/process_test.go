package host_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/storage"
)

// The test program is its own plugin, and its own worker.
func TestMain(m *testing.M) {
	plinth.RunWorker(plinth.WithModule("memory", module.Wasm), own, keeper)
	switch os.Getenv("PLINTH_TEST_PLUGIN") {
	case "":
	case "dies":
		fmt.Fprintln(os.Stderr, moveAndDie())
		os.Exit(1)
	case "crashes":
		process.Serve(func(context.Context, sdk.Env) (storage.Backend, error) { panic("it crashes when it is opened") })
	case "hangs":
		process.Serve(func(ctx context.Context, _ sdk.Env) (storage.Backend, error) { select {} })
	case "forgets":
		process.Serve(func(ctx context.Context, env sdk.Env) (storage.Backend, error) {
			b, err := memory.Open(ctx, env)
			return forgetful{b}, err
		})
	default:
		process.Serve(memory.Open)
	}
	os.Exit(m.Run())
}

// forgetful is a backend that finds nothing.
type forgetful struct{ storage.Backend }

func (forgetful) Get(context.Context, []byte) (storage.Item, error) {
	return storage.Item{}, storage.ErrNotFound
}

// self is this program, as a plugin.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var quiet = plinth.WithLogger(slog.New(slog.DiscardHandler))

// childPID is the only process that this one has started and that still runs.
func childPID(t *testing.T) (pid int) {
	t.Helper()
	list, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil || len(list) == 0 { // started by another thread
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			more, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
			list = append(list, more...)
		}
	}
	fields := strings.Fields(string(list))
	if len(fields) != 1 {
		t.Fatalf("%d children: %q", len(fields), list)
	}
	pid, _ = strconv.Atoi(fields[0])
	return pid
}

// A plugin that is a process serves pipelines as a module does; so does a module in a
// process of its own. When it is lost and begins again, empty, what the caches above
// it hold is gone too.
func TestProcess(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for name, plugins := range map[string]string{
		"process":   fmt.Sprintf("acme: { process: { command: [%q], tls: off }, grants: { env: { PLINTH_TEST_PLUGIN: memory, GORACE: atexit_sleep_ms=0 } }, on_loss: restart, restart: { wait: 1m } }", self(t)),
		"gRPC":      fmt.Sprintf("acme: { process: { command: [%q], transport: grpc }, grants: { env: { PLINTH_TEST_PLUGIN: memory, GORACE: atexit_sleep_ms=0 } }, on_loss: restart, restart: { wait: 1m } }", self(t)),
		"isolation": "memory: { isolation: process, on_loss: restart, restart: { wait: 1m } }",
	} {
		t.Run(name, func(t *testing.T) {
			plugin, _, _ := strings.Cut(plugins, ":")
			h, err := open(t, "plugins: { "+plugins+" }\nstores: { a: { backend: { plugin: "+plugin+", config: { max_bytes: 1MiB } }, pipeline: [instrument, cache, batch] } }",
				plinth.WithWorker(self(t)), quiet)
			if err != nil {
				t.Fatal(err)
			}
			a := storeOf(t, h, "a")
			if a.Carrier() != host.CarrierProcess {
				t.Errorf("its carrier is %s", a.Carrier())
			}
			key := []byte("k")
			if err := a.Set(ctx, key, []byte("v")); err != nil {
				t.Fatal(err)
			}
			if err := a.Set(ctx, key, make([]byte, 2<<20)); !errors.Is(err, storage.ErrNoSpace) {
				t.Errorf("beyond max_bytes: %v", err)
			}
			for range 2 { // from the cache, in the end
				if v, err := a.Get(ctx, key); err != nil || string(v) != "v" {
					t.Fatalf("%q, %v", v, err)
				}
			}
			if err := syscall.Kill(childPID(t), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			// Reads from the cache reach no backend that could report the loss.
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
				if _, err := a.Get(ctx, key); errors.Is(err, storage.ErrNotFound) {
					break
				}
				if time.Now().After(end) {
					t.Fatal("what the lost one held is still served")
				}
			}
			if h, err := a.Health(ctx, storage.Readiness); err != nil || h.Details["restarts"] != "1" {
				t.Errorf("%+v, %v", h, err)
			}
			if err := a.Set(ctx, key, []byte("v")); err != nil {
				t.Error(err)
			}
			if err := h.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// Errors of a process are reported with their places.
func TestProcessErrors(t *testing.T) {
	acme := fmt.Sprintf("process: { command: [%q], tls: off }, grants: { env: { PLINTH_TEST_PLUGIN: memory, GORACE: atexit_sleep_ms=0 } }", self(t))
	for name, c := range map[string]struct{ yaml, want string }{
		"missing":   {"plugins: { acme: { process: { command: [/none/acme] } } }\nstores: { a: { backend: { plugin: acme } } }", "plinth.yaml:1:20: plugins.acme.process: plugin acme: executable /none/acme not found"},
		"no plugin": {"plugins: { acme: { process: { command: [/bin/true] } } }\nstores: { a: { backend: { plugin: acme } } }", "plinth.yaml:2:16: stores.a.backend: plugin acme: start plugin: no address on its standard output: it ended: exit status 0"},
		"config":    {"plugins: { acme: { " + acme + " } }\nstores: { a: { backend: { plugin: acme, config: { max_byts: 1MiB } } } }", `plinth.yaml:2:61: stores.a.backend.config.max_byts: plugin acme: unknown field "max_byts": did you mean "max_bytes"?`},
		"digest":    {"plugins: { acme: { " + acme + ", sha256: \"" + strings.Repeat("0", 64) + "\" } }\nstores: { a: { backend: { plugin: acme } } }", "but the configuration requires 0000"},
		"no worker": {"plugins: { memory: { isolation: process } }\nstores: { a: { backend: { plugin: memory } } }", "plinth.yaml:1:33: plugins.memory.isolation: process requires a worker program"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := open(t, c.yaml, quiet)
			if err == nil {
				h.Close(ctx)
				t.Fatal("it opens")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %q", err, c.want)
			}
		})
	}
}
