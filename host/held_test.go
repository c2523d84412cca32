package host_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/host"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Calls that wait for a backend are bounded in number and time; a reload that cannot have
// them wait long enough is refused, and they go on.
func TestHeldCalls(t *testing.T) {
	slow := make(chan struct{})
	var blocks atomic.Bool
	blocking := plinth.WithBackend("slow", func(ctx context.Context, env sdk.Env) (storage.Backend, error) {
		b, err := memory.Open(ctx, env)
		return &stuck{b, &blocks, slow}, err
	})
	yaml := func(n int, more string) string {
		return fmt.Sprintf("plugins: { slow: { on_loss: restart, restart: { budget: %d } } }\nstores: { a: { backend: { plugin: slow, on_swap: discard } } }\nreload: { hold: 3s, max_held: 3%s }", n, more)
	}
	h := mustOpen(t, yaml(3, ""), quiet, blocking)
	a := storeOf(t, h, "a")
	set(t, a, "k", "1")
	blocks.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { has(t, a, "k", "1") }) // it is in a call that does not end
	for !blocked.Load() {
		time.Sleep(time.Millisecond)
	}
	reloaded := make(chan struct{})
	wg.Go(func() {
		defer close(reloaded)
		_, err := reloadWith(t, h, yaml(4, ""), blocking)
		if err == nil || !strings.Contains(err.Error(), "reload.hold (3s)") {
			t.Errorf("a backend whose calls do not end: %v", err)
		}
	})
	for { // until calls are held
		if is, err := a.Health(ctx, storage.Readiness); err == nil && is.Details["state"] == "replaced" {
			break
		}
		time.Sleep(time.Millisecond)
	}
	blocks.Store(false)
	var refused atomic.Int64
	for range 8 {
		wg.Go(func() {
			if err := a.Set(ctx, []byte("k"), []byte("1")); err != nil {
				if e := storage.AsError(err); e.Code != storage.Unavailable || e.RetryAfter == 0 {
					t.Errorf("a write that was not let wait: %v", err)
				}
				refused.Add(1)
			}
		})
	}
	<-reloaded
	close(slow)
	wg.Wait()
	if n := refused.Load(); n != 5 {
		t.Errorf("%d writes were refused, want 5", n)
	}
	has(t, a, "k", "1")
}

// blocked is whether a call is stuck.
var blocked atomic.Bool

type stuck struct {
	storage.Backend
	blocks *atomic.Bool
	end    chan struct{}
}

func (s *stuck) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if s.blocks.Load() {
		blocked.Store(true)
		<-s.end
	}
	return s.Backend.Get(ctx, key)
}

// reloadWith is reload of a program that links in more.
func reloadWith(t *testing.T, h *plinth.Host, yaml string, opts ...plinth.Option) (host.Changes, error) {
	t.Helper()
	cfg, err := plinth.Load(h.Config().File(), append(opts, plinth.WithContent([]byte(yaml)))...)
	if cfg == nil {
		return host.Changes{}, err
	}
	return h.ReloadFunc(ctx, func(*config.Config) (*config.Config, error) { return cfg, nil })
}
