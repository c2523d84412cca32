//go:build unix

package process_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk/process"
)

// TestMain is the main of a plugin, where a host has started this program as one.
func TestMain(m *testing.M) {
	if os.Getenv("SHELF") != "" {
		process.Serve(memory.Open) // does not return
	}
	os.Exit(m.Run())
}

// The main of a plugin that is an executable is one call of Serve: here this test's own
// program is one, which a host starts for its store.
func ExampleServe() {
	ctx := context.Background()
	h, err := plinth.Open(ctx, "", plinth.WithLogger(slog.New(slog.DiscardHandler)), plinth.WithValues(map[string]any{
		"plugins": map[string]any{"shelf": map[string]any{
			"process": map[string]any{"command": []string{os.Args[0]}},
			"grants":  map[string]any{"env": map[string]string{"SHELF": "1"}},
		}},
		"stores": map[string]any{"books": map[string]any{"backend": map[string]any{"plugin": "shelf"}}},
	}))
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)
	books, err := h.Store("books")
	if err != nil {
		panic(err)
	}
	if err := books.Set(ctx, []byte("1984"), []byte("Orwell")); err != nil {
		panic(err)
	}
	author, err := books.Get(ctx, []byte("1984"))
	fmt.Printf("%s %v, by a %s\n", author, err, books.Carrier())
	// Output: Orwell <nil>, by a process
}
