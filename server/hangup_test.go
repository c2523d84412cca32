package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Ten thousand who wait take every place of those who wait, and none of those who run. All hang
// up at once: they leave no goroutine, and their places to ten thousand others. Without sockets,
// of which a process has fewer.
func TestManyFollowersHangUp(t *testing.T) {
	const followers, bound = 10_000, time.Minute
	hub := wrappers.NewHub(memory.New(memory.DefaultConfig(), sdk.Env{}))
	hub.KeepChanges(time.Now)
	store := storage.New(hub.Backend(), storage.Settings{})
	srv, err := server.New(server.Config{Listener: server.Listener{MaxConcurrent: followers / 16}},
		server.Settings{Stores: map[string]*storage.Store{"s": store}, Log: slog.New(slog.DiscardHandler), Memory: server.NewMemory(0)})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(ctx context.Context, from int, path string) *httptest.ResponseRecorder {
		defer func() {
			if p := recover(); p != nil && (p != http.ErrAbortHandler || ctx.Err() == nil) { // the end of an answer to nobody
				panic(p)
			}
		}()
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/v1/stores/s/"+path, nil)
		r.RemoteAddr = fmt.Sprintf("192.0.2.1:%d", from) // a client may use a quarter of the memory
		srv.Handler().ServeHTTP(w, r)
		return w
	}
	const full = "too many requests wait for changes, the limit is 10000"
	now, err := store.Backend().Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	if err != nil {
		t.Fatal(err)
	}
	waiting := func(wait string) string { return fmt.Sprintf("changes?prefix=k&wait=%s&after=%d", wait, now.Next) }
	idle := runtime.NumGoroutine()
	// wait has all followers wait, and returns what checks that they have ended.
	wait := func(ctx context.Context) (ended func()) {
		var all sync.WaitGroup
		var asking atomic.Int32
		for i := range followers {
			all.Go(func() {
				for {
					asking.Add(1)
					w := ask(ctx, i, waiting("5m"))
					asking.Add(-1)
					if ctx.Err() != nil {
						return
					}
					if w.Code != http.StatusServiceUnavailable {
						t.Errorf("%d %s", w.Code, w.Body)
						return
					}
					time.Sleep(20 * time.Millisecond) // too many began at once
				}
			})
		}
		for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			w := ask(t.Context(), followers, waiting("1ms"))
			if w.Code == http.StatusServiceUnavailable && strings.Contains(w.Body.String(), full) && asking.Load() == followers {
				t.Logf("all wait after %s", time.Since(begin))
				break
			}
			if time.Since(begin) > bound {
				t.Fatalf("%d wait: %d %s", asking.Load(), w.Code, w.Body)
			}
		}
		for range 20 {
			if w := ask(t.Context(), followers, "keys/none"); w.Code != http.StatusNotFound {
				t.Errorf("beside those who wait: %d %s", w.Code, w.Body)
			}
		}
		return func() {
			begin, done := time.Now(), make(chan struct{})
			go func() { all.Wait(); close(done) }()
			select {
			case <-done:
				t.Logf("all have hung up after %s", time.Since(begin))
			case <-time.After(bound):
				t.Fatalf("some still wait after %s", bound)
			}
			for runtime.NumGoroutine() > idle {
				if time.Since(begin) > bound {
					t.Fatalf("%d goroutines, there were %d", runtime.NumGoroutine(), idle)
				}
				time.Sleep(time.Millisecond)
			}
			if w := ask(t.Context(), followers, waiting("1ms")); w.Code != http.StatusOK {
				t.Fatalf("after them: %d %s", w.Code, w.Body)
			}
		}
	}
	for range 2 {
		ctx, hangUp := context.WithCancel(t.Context())
		defer hangUp()
		ended := wait(ctx)
		hangUp()
		ended()
	}
}
