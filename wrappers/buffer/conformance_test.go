package buffer_test

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers/buffer"
)

// A buffer keeps the contract by itself, and over a buffer.
func TestConformance(t *testing.T) {
	for name, depth := range map[string]int{"one": 1, "two": 2} {
		t.Run(name, func(t *testing.T) {
			clock := storagetest.NewClock()
			storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
				env := sdk.Env{Now: clock.Now}
				rand.Read(env.Incarnation[:])
				below := memory.New(memory.DefaultConfig(), env)
				var top storage.Backend = below
				for range depth {
					top = buffer.New(top, clock.Now)
				}
				return storagetest.WithClose(top, func(ctx context.Context) error {
					top.Close(ctx)
					return below.Close(ctx)
				}), nil
			}},
				storagetest.Except("limits/ops", "all that is buffered has to be within the limits, not each write alone"),
				storagetest.Except("limits/large_answers", "all that is buffered has to be within the limits, not each write alone"))
		})
	}
}
