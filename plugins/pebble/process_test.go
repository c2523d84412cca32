package pebble

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/procs"
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

// asProcess is the plugin as a host runs it, with its stores below a folder.
func asProcess(t *testing.T, dir string, clock func() time.Time) *procs.Plugin {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := procs.New(procs.Options{Name: "pebble", Command: []string{self}, Env: carrier.EnvOf(map[string]string{asPlugin: "1", "GORACE": "atexit_sleep_ms=0"}),
		Plaintext: true, Dir: dir, Start: time.Minute, Clock: clock, Log: slog.New(slog.DiscardHandler)})
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
	t.Parallel()
	clock := storagetest.NewClock()
	var dir string
	var last *procs.Backend
	start := func(ctx context.Context) (storage.Backend, error) {
		b, err := asProcess(t, dir, clock.Now).Open(ctx, "s", []byte(`{"reserve": 0}`))
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
			dir = t.TempDir()
			return start(ctx)
		},
		Reopen: start,
		Crash: func(ctx context.Context) (storage.Backend, error) {
			last.Kill()
			return start(ctx)
		},
	})
}

// A trial opens nothing: not even where another host has the store open.
func TestTried(t *testing.T) {
	dir := t.TempDir()
	p := asProcess(t, dir, nil)
	b, err := p.Open(t.Context(), "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	info, err := asProcess(t, dir, nil).Try(t.Context(), nil)
	if err != nil || info.Caps != b.Info().Caps || info.Limits != b.Info().Limits {
		t.Errorf("%+v, %v; it is %+v", info, err, b.Info())
	}
	if _, err := p.Try(t.Context(), []byte(`{"sync": "often"}`)); !errors.Is(err, storage.ErrInvalidArgument) || storage.AsError(err).ConfigPath != "sync" {
		t.Errorf("%v", err)
	}
	if _, err := asProcess(t, "", nil).Open(t.Context(), "s", nil); err == nil || !strings.Contains(err.Error(), "grants: { dir") {
		t.Errorf("without a folder: %v", err)
	}
}
