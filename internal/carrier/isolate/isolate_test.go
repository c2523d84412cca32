package isolate_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/carrier/isolate"
	"github.com/plinthkv/plinth/internal/carrier/procs"
	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// The test program is its own worker.
func TestMain(m *testing.M) {
	isolate.Run(map[string][]byte{"memory": module.Wasm})
	goleak.VerifyTestMain(m)
}

// worker is how a worker for m is started.
func worker(t *testing.T, o procs.Options, m *isolate.Module) func(ctx context.Context, config string) (*procs.Backend, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Name, o.Command, o.Env, o.Plaintext, o.Start = m.Name, []string{self}, carrier.EnvOf(map[string]string{carrier.WorkerVariable: "1", "GORACE": "atexit_sleep_ms=0"}), true, time.Minute
	o.Log = slog.New(slog.DiscardHandler)
	if m.CacheDir, err = os.UserCacheDir(); err == nil {
		m.CacheDir = filepath.Join(m.CacheDir, "plinth-test", "compiled")
	}
	if err != nil || wasmhost.CheckCacheDir(m.CacheDir) != nil {
		m.CacheDir = t.TempDir()
	}
	p, err := procs.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, config string) (*procs.Backend, error) {
		raw, err := m.With([]byte(config))
		if err != nil {
			return nil, err
		}
		return p.Open(ctx, "", raw)
	}
}

// A module in a process of its own is held to what it is held to in the host's.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("the kit of the module, and that of processes, run by themselves")
	}
	clock := storagetest.NewClock()
	open := worker(t, procs.Options{Clock: clock.Now}, &isolate.Module{Name: "memory", Memory: 1 << 30})
	storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(ctx context.Context) (storage.Backend, error) { return open(ctx, "") }})
}

const guests = "../wasmhost/testdata/guests/"

// hostile is the guest that does what a key says.
func hostile(t *testing.T, o procs.Options) *procs.Backend {
	t.Helper()
	b, err := worker(t, o, &isolate.Module{Name: "hostile", File: guests + "hostile.wasm", Memory: 8 << 20, MaxFrame: 2 << 20})(t.Context(), "")
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

// A guest that loops is killed with its process, without a check in its loops; one that
// traps ends its process, which reports why.
func TestGuestsThatFail(t *testing.T) {
	for act, want := range map[string]string{
		"loop": "none of 1 calls answered for 500ms; the process was killed",
		"trap": "plinth_call: wasm error: unreachable",
	} {
		t.Run(act, func(t *testing.T) {
			b := hostile(t, procs.Options{Call: 500 * time.Millisecond, MaxFrame: 2 << 20})
			_, err := b.Get(t.Context(), []byte("!call:"+act))
			if !errors.Is(err, storage.ErrUnavailable) {
				t.Error(err)
			}
			for end := time.Now().Add(20 * time.Second); b.Status().State != supervise.Failed && time.Now().Before(end); time.Sleep(time.Millisecond) {
			}
			if s := b.Status(); s.State != supervise.Failed || !strings.Contains(s.Reason, want) {
				t.Errorf("%+v, want %q", s, want)
			}
		})
	}
	t.Run("restart", func(t *testing.T) {
		b := hostile(t, procs.Options{Call: 500 * time.Millisecond, MaxFrame: 2 << 20, RestartEmpty: true, Restart: supervise.Policy{Wait: time.Minute}})
		if _, err := b.Get(t.Context(), []byte("!call:loop")); !errors.Is(err, storage.ErrUnavailable) {
			t.Error(err)
		}
		if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("the next call: %v", err)
		}
	})
}

// Errors of the module are reported as they are in the host's own process.
func TestBadModules(t *testing.T) {
	noModule := filepath.Join(t.TempDir(), "a.wasm")
	if err := os.WriteFile(noModule, []byte("#!/bin/sh"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		m      isolate.Module
		config string
		want   string
		check  bool // whether it is known before a worker is started
	}{
		"missing":    {isolate.Module{File: "none.wasm"}, "", "none.wasm: no such file", true},
		"a folder":   {isolate.Module{File: guests}, "", "is not a file", true},
		"digest":     {isolate.Module{File: guests + "kv.wasm", SHA256: strings.Repeat("0", 64)}, "", "the configuration requires 0000", true},
		"no module":  {isolate.Module{File: noModule}, "", "not a WebAssembly module", false},
		"no builtin": {isolate.Module{Name: "other"}, "", `the worker has no built-in plugin "other"`, false},
		"config":     {isolate.Module{Name: "memory"}, `{"max_byts": 1}`, `did you mean "max_bytes"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.m.Name == "" {
				c.m.Name = "acme"
			}
			err := c.m.Check(c.m.File == "")
			if !c.check && err == nil {
				_, err = worker(t, procs.Options{}, &c.m)(t.Context(), c.config)
			}
			if e := storage.AsError(err); err == nil || e.Code != storage.InvalidArgument || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
