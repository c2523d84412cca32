package postgres

import (
	"context"
	"errors"
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

// asProcess is the plugin as a host runs it.
func asProcess(t *testing.T, clock func() time.Time) *procs.Plugin {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := procs.New(procs.Options{Name: "postgres", Command: []string{self}, Env: carrier.EnvOf(map[string]string{asPlugin: "1", "GORACE": "atexit_sleep_ms=0"}),
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
	t.Parallel()
	s, clock := server(t), storagetest.NewClock()
	var tables ring
	var table string
	var last *procs.Backend
	const name = "kit" // of the connections
	start := func(ctx context.Context) (storage.Backend, error) {
		b, err := asProcess(t, clock.Now).Open(ctx, "s", configOf(s, table, "dsn", s.DSN("postgres")+"&application_name="+name))
		if err != nil {
			return nil, err
		}
		last = b
		return b, nil
	}
	storagetest.Run(t, storagetest.Factory{
		Again: true,
		Clock: clock,
		Open: func(ctx context.Context) (_ storage.Backend, err error) {
			if table, err = tables.empty(ctx, s); err != nil {
				return nil, err
			}
			return start(ctx)
		},
		Reopen: start,
		Crash: func(ctx context.Context) (storage.Backend, error) {
			last.Kill()
			if err := s.Gone(ctx, name); err != nil { // what it has sent the server does
				return nil, err
			}
			return start(ctx)
		},
	})
}

// A trial asks no server, and finds what is wrong with a configuration.
func TestTried(t *testing.T) {
	p := asProcess(t, nil)
	info, err := p.Try(t.Context(), []byte(`{"dsn": "host=127.0.0.1 port=1", "table": "t"}`))
	c := DefaultConfig()
	if want := c.Info(); err != nil || info.Caps != want.Caps || info.Limits != want.Limits {
		t.Errorf("%+v, %v; want %+v", info, err, want)
	}
	if _, err := p.Try(t.Context(), []byte(`{"dsn": "host=x", "table": "T;"}`)); !errors.Is(err, storage.ErrInvalidArgument) || storage.AsError(err).ConfigPath != "table" {
		t.Errorf("%v", err)
	}
	if _, err := p.Open(t.Context(), "s", []byte(`{"dsn": "host=127.0.0.1 port=1 user=u", "table": "t"}`)); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("without a server: %v", err)
	}
}
