package host_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/plugins/pebble"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// transferred is how many items move.
const transferred = 3500

// openLinked opens a store on linked-in backends, in memory or in a folder.
func openLinked(folder string) (*host.Host, *config.Config, error) {
	plugin := "memory"
	if folder != "" {
		plugin = "pebble"
	}
	next := func(plugin string) (*config.Config, error) {
		return config.Load(config.Options{BuiltIn: []string{"memory", "pebble"}, Content: fmt.Appendf(nil,
			"plugins: { pebble: { grants: { dir: %q } } }\nstores: { a: { backend: { plugin: %s, on_swap: transfer } } }", os.Getenv("PLINTH_TEST_DIR")+folder, plugin)})
	}
	cfg, err := next(plugin)
	if err != nil {
		return nil, nil, err
	}
	other, err := next("pebble")
	if err != nil {
		return nil, nil, err
	}
	registry, err := wrappers.NewRegistry(plinth.Wrappers()...)
	if err != nil {
		return nil, nil, err
	}
	h, err := host.Open(ctx, cfg, host.Settings{Registry: registry, Log: slog.New(slog.DiscardHandler), Backends: map[string]*host.Linked{
		"memory": {Open: memory.Open}, "pebble": {Open: pebble.Open, Try: pebble.Info}}})
	return h, other, err
}

// moveAndDie has a store's items move to a folder, and ends by kill -9 at the given phase.
func moveAndDie() error {
	h, other, err := openLinked("")
	if err != nil {
		return err
	}
	s, err := h.Store("a")
	if err != nil {
		return err
	}
	for n := range transferred {
		if err := s.Set(ctx, fmt.Appendf(nil, "k%05d", n), make([]byte, 100)); err != nil {
			return err
		}
	}
	h.OnPhase(func(phase string) {
		if phase == os.Getenv("PLINTH_TEST_DIES") {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	})
	_, err = h.Reload(ctx, other)
	return errors.Join(err, errors.New("it has not died"))
}

// A host that is killed while items move to a durable backend finds there, when it starts
// again, none of them or all.
func TestKilledInATransfer(t *testing.T) {
	for phase, want := range map[string]int{"built": 0, "held": 0, "marked": 0, "copying": 0, "copied": 0, "unmarked": transferred, "closed": transferred, "switched": transferred} {
		dir := t.TempDir()
		t.Setenv("PLINTH_TEST_DIR", "")
		child := exec.Command(self(t))
		child.Env = append(os.Environ(), "PLINTH_TEST_PLUGIN=dies", "PLINTH_TEST_DIES="+phase, "PLINTH_TEST_DIR="+dir, "GORACE=atexit_sleep_ms=0")
		out, err := child.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s: %v: %s", phase, err, out)
		}
		h, _, err := openLinked(dir)
		if err != nil {
			t.Fatalf("%s: %v", phase, err)
		}
		s, err := h.Store("a")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for it, err := range s.Range(ctx, nil, nil, storage.RangeOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if string(it.Key) != fmt.Sprintf("k%05d", n) || len(it.Value) != 100 {
				t.Errorf("%s: item %d is %q, %d bytes", phase, n, it.Key, len(it.Value))
			}
			n++
		}
		if n != want {
			t.Errorf("killed when %s: %d items, want %d", phase, n, want)
		}
		if err := s.Set(ctx, wrappers.TransferMark, nil); !errors.Is(err, storage.ErrInvalidArgument) {
			t.Errorf("a caller can have items removed: %v", err)
		}
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}
