package procs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// pids are the processes that this one has started and that run as a plugin.
func children(t testing.TB) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(os.Getpid()) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// killPlugin ends the only plugin that runs, from outside.
func killPlugin(t testing.TB) {
	t.Helper()
	pids := children(t)
	if len(pids) != 1 {
		t.Fatalf("%d plugins run", len(pids))
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func set(b storage.Backend, key, value string) error {
	_, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(key), []byte(value))}})
	return err
}

// Calls in flight when the plugin dies hear it at once: a read may be tried again,
// a write may have been done. What comes later waits for the next one.
func TestDiesUnderLoad(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain %v", plain), func(t *testing.T) {
			o := options(t, "durable")
			o.Plain, o.Restart.Wait, o.Restart.Budget = plain, time.Minute, 100
			b := open(t, o)
			var wg sync.WaitGroup
			stop := make(chan struct{})
			for i := range 16 {
				wg.Go(func() {
					for n := 0; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						if i%2 == 0 {
							_, err := b.Get(context.Background(), []byte("k"))
							if err != nil && !errors.Is(err, storage.ErrNotFound) && (!errors.Is(err, storage.ErrUnavailable) || !storage.AsError(err).Retryable()) {
								t.Errorf("a read: %v", err)
							}
							continue
						}
						err := set(b, "k", "v")
						if e := storage.AsError(err); err != nil && !errors.Is(err, storage.ErrOutcomeUnknown) && (e.Code != storage.Unavailable || e.Unknown) {
							t.Errorf("a write: %v", err)
						}
					}
				})
			}
			for i := range 5 {
				eventually(t, "it runs", func() bool { return b.Status().State == supervise.Ready && len(children(t)) == 1 })
				time.Sleep(20 * time.Millisecond) // under load
				killPlugin(t)
				eventually(t, "it was restarted", func() bool { return b.Status().Restarts == i+1 })
			}
			close(stop)
			wg.Wait()
			if err := set(b, "k", "v"); err != nil {
				t.Error(err)
			}
			if got := b.Status().LastLoss; got == "" {
				t.Error("nothing is said of the loss")
			}
		})
	}
}

// The error of a call in flight comes with the death, not with a time-out.
func TestHearsOfDeathAtOnce(t *testing.T) {
	b := open(t, options(t, "panics"))
	failed := make(chan error, 2)
	go func() { _, err := b.Get(context.Background(), []byte("hang")); failed <- err }()
	go func() { failed <- set(b, "hang", "v") }()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	killPlugin(t)
	codes := map[storage.Code]int{}
	for range 2 {
		codes[storage.CodeOf(<-failed)]++
	}
	if codes[storage.Unavailable] != 1 || codes[storage.OutcomeUnknown] != 1 {
		t.Errorf("%v", codes)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// What follows a loss is what the configuration and the capabilities say.
func TestOnLoss(t *testing.T) {
	t.Run("fail", func(t *testing.T) {
		b := open(t, options(t, "memory"))
		killPlugin(t)
		eventually(t, "it has failed", func() bool { return b.Status().State == supervise.Failed })
		_, err := b.Get(t.Context(), []byte("k"))
		if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "plugin memory: the plugin has failed and its state is lost: it ended: signal: killed") {
			t.Error(err)
		}
		for _, p := range []storage.Probe{storage.Liveness, storage.Readiness} {
			if h, err := b.Health(t.Context(), p); err != nil || h.Status != storage.Unhealthy || h.Details["state"] != "failed" || h.Details["last_loss"] != "it ended: signal: killed" {
				t.Errorf("%v: %+v, %v", p, h, err)
			}
		}
	})
	t.Run("restart", func(t *testing.T) {
		o := options(t, "memory")
		o.RestartEmpty = true
		b := open(t, o)
		before := b.Info().Incarnation
		if err := set(b, "k", "v"); err != nil {
			t.Fatal(err)
		}
		killPlugin(t)
		eventually(t, "it was restarted", func() bool { return b.Status().Restarts == 1 })
		if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("what it held: %v", err)
		}
		if b.Info().Incarnation == before {
			t.Error("it has the incarnation of the one before")
		}
	})
}

// A plugin that ends again and again has failed, with its last words.
func TestCrashLoop(t *testing.T) {
	o := options(t, "panics")
	o.RestartEmpty, o.Restart = true, supervise.Policy{Budget: 2, First: time.Millisecond, Wait: time.Minute}
	b := open(t, o)
	for i := range 3 {
		if _, err := b.Get(t.Context(), []byte("exit")); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("loss %d: %v", i+1, err)
		}
		eventually(t, "its end was noticed", func() bool { s := b.Status(); return s.Restarts == i+1 || s.State == supervise.Failed })
	}
	s := b.Status()
	if s.State != supervise.Failed || !strings.HasPrefix(s.Reason, "lost, or not started, 3 times in a row, the last time: it ended: exit status 9; its last output: good bye") {
		t.Errorf("%+v", s)
	}
	if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrUnavailable) || strings.Contains(err.Error(), "good bye") {
		t.Errorf("callers are told what it printed, or nothing: %v", err)
	}
}

// A panic ends the plugin; its text is in the reason.
func TestPanic(t *testing.T) {
	b := open(t, options(t, "panics"))
	if _, err := b.Get(t.Context(), []byte("panic")); !errors.Is(err, storage.ErrUnavailable) {
		t.Error(err)
	}
	eventually(t, "its end was noticed", func() bool { return b.Status().State == supervise.Failed })
	if s := b.Status(); !strings.Contains(s.Reason, "it ended: exit status 2; its last output: panic: out of cheese") {
		t.Errorf("%+v", s)
	}
}

// While a plugin is being started callers wait, but not indefinitely.
func TestCallersWait(t *testing.T) {
	o := options(t, "durable")
	marker := filepath.Join(t.TempDir(), "slow")
	self := o.Command[0]
	script := filepath.Join(t.TempDir(), "start")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nwhile [ -e "+marker+" ]; do sleep 0.05; done\nexec "+self+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o.Command, o.Env["PATH"] = []string{script}, secret.Copy(os.Getenv("PATH"))
	o.Restart.Wait = 300 * time.Millisecond
	b := open(t, o)
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	killPlugin(t)
	eventually(t, "it is being restarted", func() bool { return b.Status().State == supervise.Restarting })
	start := time.Now()
	_, err := b.Get(t.Context(), []byte("k"))
	if took := time.Since(start); !errors.Is(err, storage.ErrUnavailable) || !storage.AsError(err).Retryable() || took < o.Restart.Wait {
		t.Errorf("after %s: %v", took, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller who leaves: %v", err)
	}
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Status != storage.Unhealthy || h.Details["state"] != "restarting" {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err := b.Health(t.Context(), storage.Liveness); err != nil || h.Status != storage.Healthy {
		t.Errorf("%+v, %v", h, err)
	}
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it was restarted", func() bool { return b.Status().Restarts == 1 })
}

// A plugin whose file is gone for a moment, as while it is being replaced, is back soon after
// the file is.
func TestFileIsReplaced(t *testing.T) {
	o := options(t, "durable")
	script := filepath.Join(t.TempDir(), "start")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+o.Command[0]+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o.Command = []string{script}
	b := open(t, o)
	if err := os.Rename(script, script+".old"); err != nil {
		t.Fatal(err)
	}
	killPlugin(t)
	time.Sleep(time.Second) // in which a budget of quick tries would be used up
	if s := b.Status(); s.State != supervise.Restarting || !strings.Contains(s.Reason, "no such file") {
		t.Errorf("after a second: %+v", s)
	}
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Details["next_try"] == "" {
		t.Errorf("%+v, %v", h, err)
	}
	if err := os.Rename(script+".old", script); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is back", func() bool { return b.Status().State == supervise.Ready })
}
