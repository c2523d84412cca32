package host_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/storage"
)

// A host reports the state of every plugin: of those that serve, of those that cannot
// be reached yet, and of those that no store uses.
func TestPluginsAndHealth(t *testing.T) {
	h := mustOpen(t, fmt.Sprintf(`
plugins:
  acme: { process: { command: [%q], tls: off }, grants: { env: { PLINTH_TEST_PLUGIN: memory, GORACE: atexit_sleep_ms=0 } } }
  gone: { wasm: %q }
  spare: { process: { command: [%[1]q], tls: off } }
stores:
  a: { backend: { plugin: memory } }
  b: { backend: { store: a } }
  c: { backend: { plugin: memory } }
  d: { backend: { plugin: acme } }
  e: { backend: { plugin: gone }, start: optional }
`, self(t), filepath.Join(t.TempDir(), "gone.wasm")), quiet)
	got := map[string]host.PluginState{}
	var names []string
	for _, p := range h.Plugins() {
		name := p.Plugin + ":" + strings.Join(p.Stores, ",")
		got[name], names = p, append(names, name)
	}
	if want := []string{"acme:d", "gone:e", "memory:a,b", "memory:c", "spare:"}; !slices.Equal(names, want) {
		t.Fatalf("there are %q, want %q", names, want)
	}
	for name, want := range map[string]host.PluginState{
		"acme:d": {Carrier: host.CarrierProcess, State: "ready"}, "memory:a,b": {Carrier: host.CarrierWasm, State: "ready"},
		"memory:c": {Carrier: host.CarrierWasm, State: "ready"}, "spare:": {Carrier: host.CarrierProcess, State: "idle"}, "gone:e": {State: "unavailable"},
	} {
		is := got[name]
		if is.Carrier != want.Carrier || is.State != want.State || is.Since.IsZero() != (want.State != "ready") || (is.Reason == "") != (want.State != "unavailable") {
			t.Errorf("%s is %+v, want %+v", name, is, want)
		}
	}
	is := h.Health(ctx, storage.Readiness)
	if is.Status != storage.Degraded || len(is.Stores) != 5 || is.Stores["a"].Status != storage.Healthy || is.Stores["e"].Status != storage.Degraded || !strings.Contains(is.Stores["e"].Reason, "gone.wasm") {
		t.Errorf("%+v", is)
	}
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if is := h.Health(ctx, storage.Readiness); is.Status != storage.Unhealthy || is.Stores["a"].Status != storage.Unhealthy || is.Stores["a"].Reason == "" {
		t.Errorf("closed: %+v", is)
	}
	for _, p := range h.Plugins() {
		if len(p.Stores) > 0 && p.Plugin != "gone" && p.State != "stopped" {
			t.Errorf("closed: %+v", p)
		}
	}
}

// A store of a host cannot be closed by who was handed it: only its host closes it.
func TestCloseOfAStore(t *testing.T) {
	h := mustOpen(t, `stores: { a: { backend: { plugin: memory }, pipeline: [batch] } }`, quiet)
	s := storeOf(t, h, "a")
	key := []byte("k")
	for _, close := range []func() error{func() error { return s.Close(ctx) }, func() error { return s.Store.Close(ctx) }} {
		if err := close(); err != nil {
			t.Error(err)
		}
		if err := s.Set(ctx, key, key); err != nil {
			t.Errorf("after Close: %v", err)
		}
	}
	if err := h.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := s.Set(ctx, key, key); storage.CodeOf(err) != storage.ShuttingDown {
		t.Errorf("after Close of the host: %v", err)
	}
}

// A broken plugin that no store uses is reported and stops nothing; one that a store
// uses stops the start, and a trial fails for both.
func TestBrokenPluginWithoutStores(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.wasm")
	if err := os.WriteFile(junk, []byte("MZ"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ entry, reason string }{
		"a missing file":     {`{ wasm: none.wasm }`, "no such file"},
		"no module":          {fmt.Sprintf(`{ wasm: %q }`, junk), "not a WebAssembly module"},
		"another digest":     {fmt.Sprintf(`{ wasm: %q, sha256: %q }`, junk, strings.Repeat("0", 64)), "the configuration requires"},
		"an unknown setting": {fmt.Sprintf(`{ wasm: %q, limit: 1 }`, junk), "unknown key"},
		"no executable":      {`{ process: { command: [/none/such] } }`, "executable /none/such not found"},
		"nothing":            {`{}`, "is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			yaml := "plugins: { broken: " + c.entry + " }\nstores: { a: { backend: { plugin: memory } } }\n"
			var log bytes.Buffer
			h := mustOpen(t, yaml, plinth.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			if is := h.Plugins()[0]; is.Plugin != "broken" || is.State != "failed" || !strings.Contains(is.Reason, c.reason) || len(is.Stores) > 0 {
				t.Errorf("it is told as %+v", is)
			}
			if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "plugin=broken") || !strings.Contains(text, c.reason) {
				t.Errorf("the log has %s", text)
			}
			for what, opts := range map[string][]plinth.Option{
				"a trial": {plinth.WithTrial()}, "a store": {plinth.WithOverrides(map[string]string{"stores.a.backend.plugin": "broken"})},
			} {
				opts = append(opts, plinth.WithContent([]byte(yaml)), quiet)
				if h, err := plinth.Open(ctx, "", opts...); err == nil || !strings.Contains(err.Error(), c.reason) {
					t.Errorf("%s: %v, %v", what, h, err)
				}
			}
		})
	}
}
