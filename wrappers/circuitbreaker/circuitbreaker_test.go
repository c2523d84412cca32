package circuitbreaker_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/circuitbreaker"
)

func over(t *testing.T, c circuitbreaker.Config) (storage.Backend, *storagetest.Faults) {
	t.Helper()
	faults := storagetest.NewFaults(memory.New(memory.DefaultConfig(), sdk.Env{}))
	b, err := circuitbreaker.New(faults, c, wrappers.Settings{Stage: "breaker"})
	if err != nil {
		t.Fatal(err)
	}
	return b, faults
}

func calls(ctx context.Context, b storage.Backend) map[string]func() error {
	return map[string]func() error{
		"get":      func() error { _, err := b.Get(ctx, []byte("k")); return err },
		"get_many": func() error { _, err := b.GetMany(ctx, [][]byte{[]byte("k")}); return err },
		"scan":     func() error { _, err := b.Scan(ctx, storage.Query{}); return err },
		"apply":    func() error { _, err := b.Apply(ctx, &storage.WriteSet{}); return err },
	}
}

// Failures in a row open it, for the delay; then one trial decides.
func TestOpensAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b, faults := over(t, circuitbreaker.DefaultConfig())
		down := storagetest.Fault{Err: storage.ErrUnavailable}
		faults.Set(storagetest.Fault{Err: storage.ErrUnavailable, Times: 4}) // not enough
		for range 6 {
			b.Get(ctx, []byte("k"))
		}
		faults.Set(down)
		for range 5 {
			if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrUnavailable) {
				t.Fatal(err)
			}
		}
		made := faults.Made(storagetest.CallGet)
		for op, call := range calls(ctx, b) {
			err := call()
			var e *storage.Error
			if !errors.As(err, &e) || e.Code != storage.CircuitOpen || e.Op != op || e.RetryAfter < 9*time.Second || e.RetryAfter > 11*time.Second || e.Unknown {
				t.Errorf("%s: %v", op, err)
			}
		}
		if faults.Made(storagetest.CallGet) != made {
			t.Error("an open circuit lets a call through")
		}
		faults.Set()
		if h, err := b.Health(ctx, storage.Readiness); err != nil || h.Status != storage.Degraded || !strings.Contains(h.Reason, "breaker") {
			t.Errorf("%+v, %v", h, err)
		}
		faults.Set(down)
		time.Sleep(11 * time.Second)
		if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("no trial: %v", err)
		}
		if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrCircuitOpen) {
			t.Errorf("a trial that failed does not open it again: %v", err)
		}
		faults.Set()
		time.Sleep(11 * time.Second)
		for range 2 {
			if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("it does not close: %v", err)
			}
		}
		if h, err := b.Health(ctx, storage.Readiness); err != nil || h.Status != storage.Healthy {
			t.Errorf("%+v, %v", h, err)
		}
	})
}

// What is a failure and what is an answer.
func TestWhatCounts(t *testing.T) {
	for _, c := range []struct {
		err  error
		open bool
	}{
		{storage.ErrUnavailable, true},
		{storage.ErrTimeout, true},
		{storage.ErrInternal, true},
		{storage.ErrOutcomeUnknown, true},
		{errors.New("a panic of some library"), true},
		{storage.ErrNotFound, false},
		{storage.ErrConflict, false},
		{storage.ErrSizeLimit, false},
		{storage.ErrNoSpace, false},
		{storage.ErrRateLimited, false},
		{storage.ErrCanceled, false},
		{storage.ErrShuttingDown, false},
		{context.Canceled, false},
	} {
		b, faults := over(t, circuitbreaker.DefaultConfig())
		faults.Set(storagetest.Fault{Err: c.err})
		for range 10 {
			b.Get(t.Context(), []byte("k"))
		}
		_, err := b.Get(t.Context(), []byte("k"))
		if open := errors.Is(err, storage.ErrCircuitOpen); open != c.open {
			t.Errorf("%v: open %v", c.err, open)
		}
	}
}

func TestFailureRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := circuitbreaker.DefaultConfig()
		c.FailureRate = 0.5
		b, faults := over(t, c)
		for i := range 40 {
			faults.Set()
			if i%3 == 0 {
				faults.Set(storagetest.Fault{Err: storage.ErrUnavailable})
			}
			if _, err := b.Get(t.Context(), []byte("k")); errors.Is(err, storage.ErrCircuitOpen) {
				t.Fatalf("open after %d calls of which a third failed", i)
			}
		}
		faults.Set(storagetest.Fault{Err: storage.ErrUnavailable})
		for range 40 {
			b.Get(t.Context(), []byte("k"))
		}
		if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrCircuitOpen) {
			t.Errorf("most calls fail: %v", err)
		}
	})
}

// What a caller ended, by a deadline or by leaving, says nothing about the backend.
func TestCallersWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, faults := over(t, circuitbreaker.DefaultConfig())
		for _, hangs := range []storagetest.Fault{{Delay: time.Hour}, {Delay: time.Hour, Err: storage.ErrOutcomeUnknown}} {
			faults.Set(hangs)
			for range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				for name, call := range calls(ctx, b) {
					if err := call(); err == nil || errors.Is(err, storage.ErrCircuitOpen) {
						t.Errorf("%s: %v", name, err)
					}
				}
				cancel()
			}
		}
		faults.Set()
		if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("callers with short deadlines opened the circuit: %v", err)
		}
	})
}

// A trial whose caller leaves decides nothing: the next call takes its place, and no more
// than one.
func TestTrialThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, faults := over(t, circuitbreaker.DefaultConfig())
		faults.Set(storagetest.Fault{Err: storage.ErrUnavailable})
		for range 5 {
			b.Get(t.Context(), []byte("k"))
		}
		time.Sleep(12 * time.Second)
		faults.Set(storagetest.Fault{Delay: time.Second})
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrTimeout) {
				t.Errorf("a trial whose caller leaves: %v", err)
			}
			cancel()
		}
		var refused, answered atomic.Int64
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				switch _, err := b.Get(t.Context(), []byte("k")); {
				case errors.Is(err, storage.ErrCircuitOpen):
					refused.Add(1)
				case errors.Is(err, storage.ErrNotFound):
					answered.Add(1)
				}
			})
		}
		wg.Wait()
		if answered.Load() != 1 || refused.Load() != 4 {
			t.Errorf("of 5 at once %d took the place and %d were refused", answered.Load(), refused.Load())
		}
		if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("after a trial that was answered: %v", err)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*circuitbreaker.Config)
		want   string
	}{
		{func(c *circuitbreaker.Config) { c.Failures = 0 }, "failures"},
		{func(c *circuitbreaker.Config) { c.Trials = -1 }, "trials"},
		{func(c *circuitbreaker.Config) { c.MinCalls = 0 }, "min_calls"},
		{func(c *circuitbreaker.Config) { c.FailureRate = 1.5 }, "failure_rate"},
		{func(c *circuitbreaker.Config) { c.Window = 0 }, "window"},
		{func(c *circuitbreaker.Config) { c.Delay = 0 }, "delay"},
		{func(c *circuitbreaker.Config) { c.Delay = math.MaxInt64 }, "delay"},
		{func(c *circuitbreaker.Config) { c.FailureRate = math.NaN() }, "failure_rate"},
	} {
		config := circuitbreaker.DefaultConfig()
		c.change(&config)
		if err := config.Validate(); !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// A call from before the circuit opened says nothing about its trials, however
// late it ends.
func TestLateResults(t *testing.T) {
	for name, late := range map[string]error{"success": nil, "failure": storage.ErrTimeout, "canceled": storage.ErrCanceled} {
		synctest.Test(t, func(t *testing.T) {
			c := circuitbreaker.DefaultConfig()
			c.Trials = 2
			b, faults := over(t, c)
			hold := make(chan struct{})
			faults.Set(storagetest.Fault{Hold: hold, Err: late, Times: 2}, storagetest.Fault{Err: storage.ErrUnavailable, After: 2, Times: 5})
			var slow sync.WaitGroup
			for range 2 {
				slow.Go(func() { b.Get(t.Context(), []byte("k")) })
			}
			synctest.Wait()
			for range 5 {
				b.Get(t.Context(), []byte("k"))
			}
			if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrCircuitOpen) {
				t.Fatalf("%s: it is not open: %v", name, err)
			}
			time.Sleep(11 * time.Second)
			b.Get(t.Context(), []byte("k")) // the first trial, which succeeds
			close(hold)
			slow.Wait()
			faults.Set(storagetest.Fault{Err: storage.ErrUnavailable, Times: 1})
			if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s: the second trial: %v", name, err)
			}
			if _, err := b.Get(t.Context(), []byte("k")); !errors.Is(err, storage.ErrCircuitOpen) {
				t.Errorf("%s: the trial that failed does not open it: %v", name, err)
			}
		})
	}
}
