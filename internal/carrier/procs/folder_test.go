package procs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// Each store has a folder of its own below the one that is granted, and no other host opens
// it meanwhile, for as long as a process lives that may write to it.
func TestFolderOfAStore(t *testing.T) {
	o := options(t, "panics")
	o.Dir = t.TempDir()
	p := newPlugin(t, o)
	first, err := p.Open(t.Context(), "first", nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Open(t.Context(), "second", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close(context.Background())
	for store, b := range map[string]storage.Backend{"first": first, "second": second} {
		if dir := say(t, t.Context(), b, "dir"); dir != filepath.Join(o.Dir, store) {
			t.Errorf("%s runs in %s", store, dir)
		}
		if info, err := os.Stat(filepath.Join(o.Dir, store)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the folder of %s: %v, %v", store, info, err)
		}
	}
	if held, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/3", first.PID())); err == nil && held != filepath.Join(o.Dir, "first") {
		t.Errorf("the process has inherited %s, not the lock", held)
	}
	_, err = newPlugin(t, o).Open(t.Context(), "first", nil)
	if e := storage.AsError(err); e == nil || e.Code != storage.InvalidArgument || !strings.Contains(e.Error(), "in use by another process") {
		t.Errorf("a second opener: %v", err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := newPlugin(t, o).Open(t.Context(), "first", nil)
	if err != nil {
		t.Fatalf("after it was closed: %v", err)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A process whose host is gone keeps its folder until it has gone too: an opener waits for it.
func TestSurvivorKeepsItsFolder(t *testing.T) {
	o := options(t, "panics")
	o.Dir = t.TempDir()
	// What a host that was killed leaves: a process with the descriptor, and no host.
	held, err := os.Open(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	const lives = 300 * time.Millisecond
	time.AfterFunc(lives, func() { held.Close() })
	start := time.Now()
	b, err := newPlugin(t, o).Open(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	if took := time.Since(start); took < lives {
		t.Errorf("it was opened after %s, while the other had it", took)
	}
}

// A check starts the plugin in an empty folder and opens nothing of the granted one.
func TestTry(t *testing.T) {
	o := options(t, "memory")
	o.Dir = t.TempDir()
	p := newPlugin(t, o)
	b, err := p.Open(t.Context(), "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	info, err := p.Try(t.Context(), nil)
	if err != nil || info.Name != "memory" || info.Caps != b.Info().Caps {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := p.Try(t.Context(), []byte(`{"max_byts": 1}`)); storage.AsError(err).ConfigPath != "max_byts" {
		t.Errorf("of a wrong configuration: %v", err)
	}
	if _, err := newPlugin(t, options(t, "durable")).Try(t.Context(), nil); !errors.Is(err, storage.ErrUnsupported) {
		t.Errorf("of a plugin that cannot: %v", err)
	}
	if n := len(children(t)); n != 1 {
		t.Errorf("%d processes run, want the one that is open", n)
	}
}

// A signal to all processes of a service reaches the plugin too. It goes on until the host
// ends it, and closes its backend then.
func TestSignalsAreTheHosts(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "closed")
	o := options(t, "flushes")
	o.Env[marker] = secret.Copy(closed)
	b := open(t, o)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(-b.PID(), s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		if _, err := b.Health(t.Context(), storage.Liveness); err != nil || b.PID() == 0 {
			t.Fatalf("after %v: %v", s, err)
		}
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(closed); err != nil {
		t.Errorf("the backend was not closed: %v", err)
	}
	if restarts := b.Status().Restarts; restarts != 0 {
		t.Errorf("it was started again %d times", restarts)
	}
}
