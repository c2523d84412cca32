//go:build unix

package etcd

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/sdk/process"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

const asPlugin = "PLINTH_TEST_PLUGIN"

// servePlugin is this program as the plugin, where it was started as one.
func servePlugin() {
	if os.Getenv(asPlugin) != "" {
		process.Plugin{Open: Open, Try: Info}.Serve()
	}
}

// asProcess is the plugin as a host runs it.
func asProcess(t *testing.T, clock func() time.Time) *procs.Plugin {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := procs.New(procs.Options{Name: "etcd", Command: []string{self}, Env: carrier.EnvOf(map[string]string{asPlugin: "1", "GORACE": "atexit_sleep_ms=0"}),
		Plaintext: true, Start: time.Minute, Clock: clock, Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The kit over the plugin in a process of its own, with restarts, and with processes that
// are killed.
func TestConformanceAsAProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector: each check starts a process")
	}
	if !alone(t) {
		return
	}
	c := forKit(t)
	clock := storagetest.NewClock()
	var env sdk.Env
	var last *procs.Backend
	start := func(ctx context.Context) (storage.Backend, error) {
		b, err := asProcess(t, clock.Now).Open(ctx, "s", env.Config)
		if err != nil {
			return nil, err
		}
		last = b
		return b, nil
	}
	storagetest.Run(t, storagetest.Factory{
		Again: true,
		Clock: clock,
		Open: func(ctx context.Context) (storage.Backend, error) {
			env = c.env(aPrefix(), nil)
			return start(ctx)
		},
		Reopen: start,
		Crash: func(ctx context.Context) (storage.Backend, error) {
			last.Kill()
			return start(ctx)
		},
	}, lateExpiries())
}

// A trial asks no cluster, and reports what is wrong with the configuration at its place.
func TestTried(t *testing.T) {
	p := asProcess(t, nil)
	env := envOf([]string{"http://127.0.0.1:1"}, "x/", nil)
	info, err := p.Try(t.Context(), env.Config)
	if err != nil || !info.Caps.Has(storage.CapDurable) || info.Limits.Ops != 126 {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := p.Try(t.Context(), []byte(`{"prefix": "x"}`)); !errors.Is(err, storage.ErrInvalidArgument) || storage.AsError(err).ConfigPath != "endpoints" {
		t.Errorf("%v", err)
	}
}
