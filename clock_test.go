package plinth_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// jumpy is a system clock that can be set.
type jumpy struct{ at atomic.Int64 }

func (j *jumpy) now() time.Time       { return time.UnixMilli(j.at.Load()) }
func (j *jumpy) set(by time.Duration) { j.at.Add(by.Milliseconds()) }

const jumpyConfig = `
stores:
  plain: { backend: { plugin: memory }, pipeline: [] }
  staged: { backend: { plugin: memory }, pipeline: [ { rate_limit: { rate: 1000000 } }, cache, batch ] }
`

// Whatever sets an expiry counts its TTL from the clock that judges it: after a jump of
// the system clock an item lives as long as it was given, by every way in.
func TestClockJumps(t *testing.T) {
	const ttl = 10 * time.Minute
	for name, jump := range map[string][]time.Duration{
		"ahead for one call": {time.Hour, -time.Hour}, "back for one call": {-time.Hour, time.Hour},
		"ahead": {time.Hour}, "back": {-time.Hour}, "ahead twice": {time.Hour, -time.Hour, time.Hour, -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			system := &jumpy{}
			system.at.Store(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
			log := &lockedBuffer{}
			h, err := plinth.Open(ctx, "jumpy.yaml", plinth.WithModule("memory", module.Wasm), plinth.WithContent([]byte(jumpyConfig)), plinth.WithClock(system.now),
				plinth.WithLogger(slog.New(slog.NewTextHandler(log, nil))), plinth.WithCacheDir(compiled(t)))
			must(t, err)
			defer h.Close(context.Background())
			for _, name := range []string{"plain", "staged"} {
				store := storeOf(t, h, name).Store
				web, rpc := overNetwork(t, store)
				must(t, store.Set(ctx, []byte("cas"), []byte("old")))
				must(t, store.Set(ctx, []byte("touch"), []byte("v")))
				for _, by := range jump {
					system.set(by)
					if _, err := store.Get(ctx, []byte("absent")); !errors.Is(err, storage.ErrNotFound) {
						t.Fatal(err)
					}
				}
				ways := map[string]func(key []byte) error{
					"set":   func(key []byte) error { return errOf(store.Put(ctx, key, []byte("v"), storage.WithTTL(ttl))) },
					"touch": func(key []byte) error { return errOf(store.Touch(ctx, key, ttl)) },
					"cas": func(key []byte) error {
						return errOf(store.Put(ctx, key, []byte("v"), storage.IfValue([]byte("old")), storage.WithTTL(ttl)))
					},
					"txn": func(key []byte) error {
						return store.Update(ctx, func(tx *storage.Txn) error { return errOf(tx.Put(ctx, key, []byte("v"), storage.WithTTL(ttl))) })
					},
					"http": func(key []byte) error { return httpPut(web+"/keys/"+string(key)+"?ttl=10m", "v") },
					"json": func(key []byte) error {
						res, err := http.Post(web+"/apply", "application/json", strings.NewReader(`{"ops": [{"op": "put", "key": "`+string(key)+`", "value": "v", "ttl": "10m"}]}`))
						return ok(res, err)
					},
					"remote": func(key []byte) error { return errOf(rpc.Put(ctx, key, []byte("v"), storage.WithTTL(ttl))) },
				}
				for way, set := range ways {
					must(t, set([]byte(way)))
					if _, err := store.Get(ctx, []byte(way)); err != nil {
						t.Errorf("%s, %s: gone at once: %v", name, way, err)
					}
				}
				system.set(9 * time.Minute)
				for way := range ways {
					if _, err := store.Get(ctx, []byte(way)); err != nil {
						t.Errorf("%s, %s: gone after 9m of 10m: %v", name, way, err)
					}
				}
				system.set(3 * time.Minute) // a clock that is ahead of the system's runs more slowly
				for way := range ways {
					if _, err := store.Get(ctx, []byte(way)); !errors.Is(err, storage.ErrNotFound) {
						t.Errorf("%s, %s: there after 12m of 10m: %v", name, way, err)
					}
				}
				health, err := store.Health(ctx, storage.Readiness)
				if last := jump[len(jump)-1]; last < 0 && (err != nil || health.Status != storage.Degraded || !strings.Contains(health.Reason, "set back")) {
					t.Errorf("%s: health after a step back: %v %v", name, health, err)
				}
				system.set(48 * time.Hour) // the clocks meet
			}
			if strings.Contains(name, "back") && !strings.Contains(log.String(), "system clock was set back") {
				t.Errorf("the log has no word of it: %s", log)
			}
		})
	}
}

// overNetwork serves the store over HTTP and gRPC: the address of the store, and the
// store as a remote backend.
func overNetwork(t *testing.T, s *storage.Store) (web string, rpc *storage.Store) {
	t.Helper()
	stores, silent := map[string]*storage.Store{"s": s}, slog.New(slog.DiscardHandler)
	srv, err := server.New(server.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, server.Settings{Stores: stores, Log: silent})
	must(t, err)
	hs := httptest.NewServer(srv.Handler())
	t.Cleanup(hs.Close)
	g, err := grpcserver.New(grpcserver.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, grpcserver.Settings{Stores: stores, Log: silent})
	must(t, err)
	l, err := g.Listen()
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx, l) }()
	t.Cleanup(func() { stop(); <-ended })
	c, err := client.Dial(t.Context(), client.Config{Address: l.Addr().String()}, client.Settings{Log: silent})
	must(t, err)
	t.Cleanup(func() { c.Close(context.Background()) })
	return hs.URL + "/v1/stores/s", storage.New(c, storage.Settings{})
}

func httpPut(url, value string) error {
	req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(value))
	if err != nil {
		return err
	}
	return ok(http.DefaultClient.Do(req))
}

func ok(res *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return errors.New(res.Status)
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer is a log that goroutines share.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }

// storeOf is the store of that name, which has to be there.
func storeOf(t testing.TB, h *plinth.Host, name string) *plinth.Store {
	t.Helper()
	s, err := h.Store(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
