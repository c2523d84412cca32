package plinth_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/storage"
)

// No read that a client can ask for costs a store its state: not one large key a
// hundred times over, and not bounds or keys of 60 MB, through whatever stages.
func TestReadsCostNoState(t *testing.T) {
	h, err := plinth.Open(t.Context(), "reads.yaml", plinth.WithModule("memory", module.Wasm), plinth.WithCacheDir(compiled(t)), plinth.WithLogger(slog.New(slog.DiscardHandler)), plinth.WithContent([]byte(`
stores:
  default: { backend: { plugin: memory }, pipeline: [instrument, size_limits: { key: 4KiB, value: 4MiB }, cache, batch] }
  guarded: { backend: { store: default }, pipeline: [read_only] }
`)))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	stores := map[string]*storage.Store{}
	for _, s := range h.Stores() {
		stores[s.Name()] = s.Store
	}
	srv, err := server.New(server.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, server.Settings{Stores: stores, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv.Handler())
	defer web.Close()

	value := bytes.Repeat([]byte("v"), 4<<20)
	if err := stores["default"].Set(t.Context(), []byte("k"), value); err != nil {
		t.Fatal(err)
	}
	low, high := make([]byte, 60e6), bytes.Repeat([]byte{0xFF}, 60e6)
	for name, s := range stores {
		t.Run(name, func(t *testing.T) {
			body := fmt.Sprintf(`{"keys": [%s"k"]}`, strings.Repeat(`"k", `, 99))
			res, err := http.Post(web.URL+"/v1/stores/"+name+"/get", "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, res.Body)
			res.Body.Close()
			switch {
			case res.StatusCode == http.StatusOK && (err != nil || n < 100*4<<20):
				t.Errorf("%d bytes for a hundred times 4 MiB: %v", n, err)
			case res.StatusCode >= 500:
				t.Errorf("status %d", res.StatusCode)
			}
			for it, err := range s.Range(t.Context(), low, high, storage.RangeOptions{KeysOnly: true}) {
				if err != nil || string(it.Key) != "k" {
					t.Errorf("a range with bounds of 60 MB: %q, %v", it.Key, err)
				}
			}
			for it, err := range s.Range(t.Context(), low, high, storage.RangeOptions{KeysOnly: true, Reverse: true}) {
				if err != nil || string(it.Key) != "k" {
					t.Errorf("a reverse range with bounds of 60 MB: %q, %v", it.Key, err)
				}
			}
			if _, err := s.Get(t.Context(), high); err == nil {
				t.Error("a key of 60 MB is there")
			}
			if got, err := s.Get(t.Context(), []byte("k")); err != nil || !bytes.Equal(got, value) {
				t.Errorf("the store has lost what it had: %d bytes, %v", len(got), err)
			}
		})
	}
}
