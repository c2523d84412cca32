package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/storage"
)

// A plugin that has failed for good, its state lost, is started again by a reload that changes
// nothing, and by asking for it.
func TestReloadStartsWhatFailed(t *testing.T) {
	yaml := fmt.Sprintf("plugins: { acme: { process: { command: [%q], tls: off }, grants: { env: { PLINTH_TEST_PLUGIN: memory, GORACE: atexit_sleep_ms=0 } } } }\nstores: { a: { backend: { plugin: acme }, pipeline: [cache] }, b: { backend: { plugin: memory } } }", self(t))
	h := mustOpen(t, yaml, quiet)
	a := storeOf(t, h, "a")
	for name, again := range map[string]func() error{
		"a reload":  func() error { _, err := reload(t, h, yaml); return err },
		"a restart": func() error { _, err := h.RestartPlugin(ctx, "acme"); return err },
	} {
		set(t, a, "k", "1")
		has(t, a, "k", "1")
		if _, err := h.RestartPlugin(ctx, "acme"); err == nil || !strings.Contains(err.Error(), "would lose its items") {
			t.Errorf("%s: a restart that loses items: %v", name, err)
		}
		if err := syscall.Kill(childPID(t), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); h.Plugins()[0].State != "failed"; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: its state is %s", name, h.Plugins()[0].State)
			}
		}
		if err := a.Set(ctx, []byte("k"), nil); err == nil {
			t.Errorf("%s: it serves although it has failed", name)
		}
		if err := again(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := a.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: what was lost: %v", name, err)
		}
	}
	if _, err := h.RestartPlugin(ctx, "nobody"); !errors.Is(err, storage.ErrInvalidArgument) {
		t.Errorf("one that there is not: %v", err)
	}
}

// With gate: full, the kit is given the plugin to try, and decides; without a kit, no
// new plugin is accepted.
func TestGateFull(t *testing.T) {
	dir := t.TempDir()
	wasm := filepath.Join(dir, "m.wasm")
	write := func(tail string) {
		if err := os.WriteFile(wasm, append(bytes.Clone(module.Wasm), tail...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	yaml := fmt.Sprintf("plugins: { kv: { wasm: %q, gate: full, limits: { memory: 1GiB }, grants: { env: { A: b } } } }\nstores: { a: { backend: { plugin: kv, on_swap: discard, config: { max_bytes: 1MiB } } } }", wasm)
	var told host.Subject
	fails := errors.New("it forgets")
	h := mustOpen(t, yaml, quiet, plinth.WithKit(func(_ context.Context, s host.Subject) error {
		told = s
		return fails
	}))
	write("\x00\x02\x01x")
	if _, err := reload(t, h, yaml); err == nil || !strings.Contains(err.Error(), "it forgets") || !strings.Contains(err.Error(), "gate: full") {
		t.Errorf("what the kit refuses: %v", err)
	}
	if told.Module != wasm || told.Env["A"] != "b" || string(told.Config) != `{"max_bytes":"1MiB"}` || told.Memory != 1<<30 || told.Name != "kv" {
		t.Errorf("the kit is told %+v, %s", told, told.Config)
	}
	fails = nil
	mustReload(t, h, yaml)
	bare := mustOpen(t, yaml, quiet)
	write("\x00\x02\x01y")
	if _, err := reload(t, bare, yaml); err == nil || !strings.Contains(err.Error(), "which this one does not contain") {
		t.Errorf("without a kit: %v", err)
	}
}

// A plugin that is being started again is left to it by a reload of what is above.
func TestReloadWhileAPluginRestarts(t *testing.T) {
	yaml := func(stage string) string {
		return fmt.Sprintf("plugins: { acme: { process: { command: [%q], tls: off }, grants: { env: { PLINTH_TEST_PLUGIN: memory, GORACE: atexit_sleep_ms=0 } }, on_loss: restart, restart: { wait: 1m } } }\nstores: { a: { backend: { plugin: acme }, pipeline: [cache%s] } }", self(t), stage)
	}
	h := mustOpen(t, yaml(""), quiet)
	a := storeOf(t, h, "a")
	for _, stage := range []string{", size_limits", "", ", size_limits"} {
		set(t, a, "k", "1")
		has(t, a, "k", "1")
		if err := syscall.Kill(childPID(t), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if changes := mustReload(t, h, yaml(stage)); changes.String() != "rebuild store a" {
			t.Errorf("changes: %s", changes)
		}
		for end := time.Now().Add(20 * time.Second); a.Set(ctx, []byte("k"), []byte("2")) != nil; { // a call that was with it gets an error
			if time.Now().After(end) {
				t.Fatal("it is not started again")
			}
		}
		has(t, a, "k", "2")
	}
}
