package wasmhost_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// What follows when an instance is lost. That a backend stays failed is what
// hostile_test.go sees all the time; here are those that start again.

// handClock is a clock that stands until it is moved.
type handClock struct{ ms atomic.Int64 }

func newHandClock() *handClock {
	c := &handClock{}
	c.ms.Store(1_700_000_001_500) // the second is divisible by 3, for the aging guest
	return c
}

func (c *handClock) now() time.Time           { return time.UnixMilli(c.ms.Load()) }
func (c *handClock) advance(by time.Duration) { c.ms.Add(by.Milliseconds()) }

// restarting opens the hostile guest with a clock of its own.
func restarting(t *testing.T, config string, onLoss wasmhost.OnLoss) (*wasmhost.Backend, *handClock) {
	t.Helper()
	c := newHandClock()
	o := hostileOptions
	o.Clock, o.OnLoss, o.Call = c.now, onLoss, time.Minute
	return openGuest(t, "hostile", `{"do": "`+config+`"}`, o), c
}

func trap(t *testing.T, b *wasmhost.Backend) {
	t.Helper()
	_, err := b.Get(context.Background(), []byte("!call:trap"))
	if want := hostiles + "plinth_call: wasm error: unreachable"; err == nil || err.Error() != want {
		t.Fatalf("%v, want %s", err, want)
	}
}

// It comes back empty, as another, and its versions go on.
func TestRestartOnLoss(t *testing.T) {
	b, _ := restarting(t, "", wasmhost.RestartOnLoss)
	before := b.Info().Incarnation
	version := apply(t, b, storage.Put([]byte("key"), []byte("value")))
	_, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("!call:trap"), nil)}})
	if !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	if _, err := b.Get(context.Background(), []byte("key")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what it held: %v", err)
	}
	if after := b.Info().Incarnation; after == before || after == [16]byte{} {
		t.Errorf("its incarnation is %x, as before", after)
	}
	if again := apply(t, b, storage.Put([]byte("key"), []byte("value"))); again <= version {
		t.Errorf("version %d, after %d: the clock has not moved, the versions have to", again, version)
	}
	h, err := b.Health(context.Background(), storage.Readiness)
	if err != nil || h.Status != storage.Healthy || h.Details["restarts"] != "1" || h.Details["last_loss"] != "plinth_call: wasm error: unreachable" {
		t.Errorf("health: %+v, %v", h, err)
	}
}

// The first loss is repaired at once; those that follow are not, and report when.
func TestRestartsBackOff(t *testing.T) {
	b, clock := restarting(t, "", wasmhost.RestartOnLoss)
	ctx := context.Background()
	trap(t, b)
	for i, most := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000} {
		most *= time.Millisecond
		if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("loss %d: it did not start again: %v", i+1, err)
		}
		trap(t, b)
		_, err := b.Get(ctx, []byte("k"))
		e := storage.AsError(err)
		want := hostiles + "the plugin has failed and is being restarted: plinth_call: wasm error: unreachable, retry after "
		if !errors.Is(err, storage.ErrUnavailable) || !e.Retryable() || !strings.HasPrefix(err.Error(), want) || e.RetryAfter > most+time.Millisecond {
			t.Fatalf("loss %d: %v, want to wait at most %s", i+2, err, most)
		}
		if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Delete([]byte("k"))}}); !errors.Is(err, storage.ErrUnavailable) || storage.AsError(err).Unknown {
			t.Fatalf("a write meanwhile: %v", err)
		}
		for probe, status := range map[storage.Probe]storage.Status{storage.Liveness: storage.Healthy, storage.Readiness: storage.Unhealthy, storage.Startup: storage.Unhealthy} {
			if h, err := b.Health(ctx, probe); err != nil || h.Status != status || h.Details["last_loss"] == "" {
				t.Fatalf("loss %d: %v: %+v, %v", i+2, probe, h, err)
			}
		}
		clock.advance(e.RetryAfter + time.Millisecond)
	}
	if h, err := b.Health(ctx, storage.Readiness); err != nil || h.Status != storage.Healthy {
		t.Fatalf("asking for its health starts it: %+v, %v", h, err)
	}
	clock.advance(2 * time.Minute) // a steady life
	trap(t, b)
	if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("after a steady life it does not start at once: %v", err)
	}
}

// One that keeps its state elsewhere starts again, whatever the configuration says
// of those that do not.
func TestDurableRestarts(t *testing.T) {
	b, _ := restarting(t, "!durable", wasmhost.FailOnLoss)
	trap(t, b)
	if _, err := b.Get(context.Background(), []byte("k")); !errors.Is(err, storage.ErrNotFound) {
		t.Error(err)
	}
}

// A start that fails, or whose guest can do less than before, is tried again later.
func TestRestartFails(t *testing.T) {
	ctx := context.Background()
	b, clock := restarting(t, "!aging", wasmhost.RestartOnLoss)
	trap(t, b) // one that claims TTL in this second, does not start in the next, and claims less in the third
	clock.advance(time.Second)
	_, err := b.Get(ctx, []byte("k"))
	want := hostiles + "the plugin has failed and is being restarted: plinth_open returned the bare code 18; before that: plinth_call: wasm error: unreachable, retry after "
	if !errors.Is(err, storage.ErrUnavailable) || !strings.HasPrefix(err.Error(), want) || storage.AsError(err).RetryAfter == 0 {
		t.Errorf("%v, want %s", err, want)
	}
	clock.advance(time.Second)
	_, err = b.Get(ctx, []byte("k"))
	want = hostiles + "the plugin has failed and is being restarted: restarted with fewer capabilities than before, without expiry_on_read; before that: plinth_call: wasm error: unreachable, retry after "
	if !errors.Is(err, storage.ErrUnavailable) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	clock.advance(time.Second)
	if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("it is as it was, and does not start: %v", err)
	}
}

// A guest that says that it keeps nothing has several instances. Losing some
// affects no other instance, and each is replaced on its own.
func TestPool(t *testing.T) {
	ctx := context.Background()
	b, clock := restarting(t, "!stateless", wasmhost.FailOnLoss)
	n := b.Instances()
	if n < 2 {
		t.Skip("one processor: a pool of one")
	}
	for i := range n {
		trap(t, b)
		if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("after %d losses: %v", i+1, err)
		}
	}
	for i := range 10 * n { // every one of them is there again
		if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("get %d: %v", i, err)
		}
	}
	// All are lost again, and have to wait: it says so until the first may start.
	var longest time.Duration
	for range 5 * n {
		_, err := b.Get(ctx, []byte("!call:trap"))
		e := storage.AsError(err)
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Fatal(err)
		}
		longest = max(longest, e.RetryAfter)
	}
	if longest == 0 {
		t.Error("a pool that dies in every call is restarted without a pause")
	}
	if h, err := b.Health(ctx, storage.Readiness); err != nil || h.Status != storage.Unhealthy {
		t.Errorf("health: %+v, %v", h, err)
	}
	clock.advance(longest + time.Millisecond)
	for range 10 * n {
		if _, err := b.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrNotFound) {
			t.Error(err)
		}
	}
}

// While any instance of a pool is started again soon, callers wait for that one,
// although others have failed for good.
func TestPoolWaitsForWhatComesBack(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	ctx, c := context.Background(), newHandClock()
	o := hostileOptions
	o.Clock, o.Call, o.Restart = c.now, time.Minute, supervise.Policy{Budget: 2, Wait: 10 * time.Second}
	b := openGuest(t, "hostile", `{"do": "!stateless"}`, o)
	get := func() error {
		_, err := b.Get(ctx, []byte("k"))
		return err
	}
	lose := func() {
		t.Helper()
		if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("!call:trap"), nil)}}); !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
	}
	for range 3 { // in turn: the second instance works, the first is lost
		if err := get(); !errors.Is(err, storage.ErrNotFound) {
			t.Fatal(err)
		}
		lose()
		c.advance(time.Second)
	}
	if s := b.Status(); s.State != supervise.Degraded {
		t.Fatalf("one of two has failed, and it is %s", s.State)
	}
	lose() // the second, twice: it has to wait before it is started again
	lose()
	time.AfterFunc(time.Millisecond, func() { c.advance(time.Second) })
	if err := get(); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("no call waited for the one that comes back: %v", err)
	}
}

// Time never goes back for a guest, whatever the host's clock does, and over a
// restart neither.
func TestNowNeverGoesBack(t *testing.T) {
	b, clock := restarting(t, "", wasmhost.RestartOnLoss)
	last := uint64(0)
	for i, by := range []time.Duration{0, time.Second, -time.Hour, time.Millisecond, -time.Hour, 3 * time.Hour, -24 * time.Hour} {
		clock.advance(by)
		for _, key := range []string{"!get:get_now", "!call:now"} {
			it, err := b.Get(context.Background(), []byte(key))
			if err != nil || it.Version < last || int64(it.Version) < clock.ms.Load() {
				t.Errorf("step %d, %s: now is %d, %v; it was %d, and the clock says %d", i, key, it.Version, err, last, clock.ms.Load())
			}
			last = it.Version
		}
		if i == 4 {
			trap(t, b)
		}
	}
}

// The log reports losses and restarts, with the plugin's name.
func TestLossIsLogged(t *testing.T) {
	var log logged
	o := wasmhost.Options{Name: "acme", Call: time.Minute, OnLoss: wasmhost.RestartOnLoss, Log: slog.New(&log)}
	b := openGuest(t, "hostile", "", o)
	_, _ = b.Get(context.Background(), []byte("!call:trap"))
	_, _ = b.Get(context.Background(), []byte("k"))
	log.expect(t,
		`WARN plugin state plugin=acme from=ready to=restarting reason=plinth_call: wasm error: unreachable`,
		`INFO plugin state plugin=acme from=restarting to=ready`)
}
