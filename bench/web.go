package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// web is an empty handler and a served store, each on loopback.
type web struct {
	client       *http.Client
	emptyServer  *httptest.Server
	storeServer  *httptest.Server
	empty, store string // base addresses; a key follows
}

const webCallers = 64

func newWeb(b storage.Backend) (*web, error) {
	s, err := server.New(server.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, server.Settings{Memory: server.NewMemory(0),
		Stores: map[string]*storage.Store{"s": storage.New(b, storage.Settings{})}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	w := &web{
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: webCallers, MaxConnsPerHost: webCallers}},
		emptyServer: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(value) // who does not take it has gone
		})),
		storeServer: httptest.NewServer(s.Handler()),
	}
	w.empty, w.store = w.emptyServer.URL+"/", w.storeServer.URL+"/v1/stores/s/keys/"
	return w, nil
}

func (w *web) close() {
	w.client.CloseIdleConnections()
	w.emptyServer.Close()
	w.storeServer.Close()
}

// run has 64 callers share the requests.
func (w *web) run(base string) func(*testing.B) {
	return func(b *testing.B) {
		var next atomic.Int64
		var callers sync.WaitGroup
		for range webCallers {
			callers.Go(func() {
				for {
					i := next.Add(1)
					if i > int64(b.N) {
						return
					}
					res, err := w.client.Get(base + string(keys[i%keyCount]))
					if err != nil {
						b.Error(err)
						return
					}
					n, _ := io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if res.StatusCode != http.StatusOK || n != int64(len(value)) {
						b.Errorf("status %d, %d bytes", res.StatusCode, n)
						return
					}
				}
			})
		}
		callers.Wait()
	}
}

// missing reads each key after a write of it, which has taken it out of the
// cache; the write is not measured.
func missing(s storage.Backend) func(*testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		p := backend{s}
		for i := 0; b.Loop(); i++ {
			key := keys[i%keyCount]
			if i%keyCount == 0 {
				b.StopTimer()
				for _, k := range keys {
					if err := p.set(ctx, k, value); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
			}
			if n, err := p.get(ctx, key); err != nil || n != len(value) {
				b.Fatal(n, err)
			}
		}
	}
}
