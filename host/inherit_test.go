package host_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// watched is a backend in memory whose calls can be counted, failed and held.
type watched struct {
	storage.Backend
	gets  atomic.Int64
	fails atomic.Bool
	holds atomic.Pointer[chan struct{}] // writes wait for it before they are applied
	waits atomic.Int64
}

func (w *watched) Get(ctx context.Context, key []byte) (storage.Item, error) {
	w.gets.Add(1)
	if w.fails.Load() {
		return storage.Item{}, storage.ErrUnavailable
	}
	return w.Backend.Get(ctx, key)
}

func (w *watched) Apply(ctx context.Context, s *storage.WriteSet) (uint64, error) {
	if hold := w.holds.Load(); hold != nil {
		w.waits.Add(1)
		<-*hold
	}
	return w.Backend.Apply(ctx, s)
}

// openWatched opens a store on such a backend.
func openWatched(t *testing.T, yaml string) (*plinth.Host, *plinth.Store, *watched) {
	t.Helper()
	w := &watched{}
	h := mustOpen(t, yaml, quiet, plinth.WithBackend("own", func(ctx context.Context, env sdk.Env) (storage.Backend, error) {
		b, err := memory.Open(ctx, env)
		w.Backend = b
		return w, err
	}))
	return h, storeOf(t, h, "a"), w
}

func reloadOwn(t *testing.T, h *plinth.Host, yaml string) {
	t.Helper()
	if _, err := reloadWith(t, h, yaml, plinth.WithBackend("own", memory.Open)); err != nil {
		t.Fatal(err)
	}
}

// A stage that did not change goes on with what it knew, although another was put under it.
func TestStagesKeepWhatTheyKnow(t *testing.T) {
	yaml := func(stage, under string) string {
		return fmt.Sprintf("stores: { a: { backend: { plugin: own }, pipeline: [%s%s] } }", stage, under)
	}
	key := []byte("k")

	t.Run("rate_limit", func(t *testing.T) {
		const stage = "rate_limit: { rate: 1, burst: 3 }"
		h, a, _ := openWatched(t, yaml(stage, ""))
		for range 3 {
			if err := a.Set(ctx, key, key); err != nil {
				t.Fatal(err)
			}
		}
		reloadOwn(t, h, yaml(stage, ", size_limits"))
		if err := a.Set(ctx, key, key); !errors.Is(err, storage.ErrRateLimited) {
			t.Errorf("what was used up is there again: %v", err)
		}
		reloadOwn(t, h, yaml("rate_limit: { rate: 1, burst: 4 }", ", size_limits"))
		if err := a.Set(ctx, key, key); err != nil {
			t.Errorf("another limit begins anew: %v", err)
		}
	})

	t.Run("circuit_breaker", func(t *testing.T) {
		const stage = "circuit_breaker: { failures: 2, delay: 1h }"
		h, a, w := openWatched(t, yaml(stage, ""))
		w.fails.Store(true)
		for range 2 {
			if _, err := a.Get(ctx, key); !errors.Is(err, storage.ErrUnavailable) {
				t.Fatal(err)
			}
		}
		w.fails.Store(false)
		reloadOwn(t, h, yaml(stage, ", size_limits"))
		if _, err := a.Get(ctx, key); !errors.Is(err, storage.ErrCircuitOpen) {
			t.Errorf("the circuit is closed again: %v", err)
		}
	})

	for name, under := range map[string]string{"cache": "", "cache over a prefix": ", prefix: { prefix: p/ }"} {
		t.Run(name, func(t *testing.T) {
			h, a, w := openWatched(t, yaml("cache", under))
			set(t, a, "k", "1")
			has(t, a, "k", "1")
			asked := w.gets.Load()
			reloadOwn(t, h, yaml("cache", under+", size_limits"))
			has(t, a, "k", "1")
			if n := w.gets.Load(); n != asked {
				t.Errorf("the cache is empty: %d reads below", n-asked)
			}
			set(t, a, "k", "2")
			has(t, a, "k", "2")
			reloadOwn(t, h, yaml("cache", ", prefix: { prefix: q/ }"))
			if _, err := a.Get(ctx, key); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("what the cache knew by other names is taken for this: %v", err)
			}
		})
	}
}

// A cache that a reload has made is notified of a write that is still running in the
// previous pipeline.
func TestNewCacheHearsOldWriters(t *testing.T) {
	h, a, w := openWatched(t, "stores: { a: { backend: { plugin: own }, pipeline: [size_limits] } }")
	set(t, a, "k", "1")
	hold := make(chan struct{})
	w.holds.Store(&hold)
	written := make(chan error)
	go func() { written <- a.Set(ctx, []byte("k"), []byte("2")) }()
	for w.waits.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	reloadOwn(t, h, "stores: { a: { backend: { plugin: own }, pipeline: [cache] } }")
	has(t, a, "k", "1") // the write is under way
	close(hold)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	has(t, a, "k", "2")
}
