package cache_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/cache"
)

// A cache that holds everything, one that evicts all the time, and one over a backend
// that does not report expiries.
func TestConformance(t *testing.T) {
	small := cache.DefaultConfig()
	small.MaxBytes = 64 << 10
	model := storagetest.ModelInfo()
	model.Caps &^= storage.CapExpiryOnRead
	for _, c := range []struct {
		name   string
		config cache.Config
		open   func(*storagetest.Clock) storage.Backend
	}{
		{"roomy", cache.DefaultConfig(), newMemory},
		{"small", small, newMemory},
		{"without expiry on read", cache.DefaultConfig(), func(c *storagetest.Clock) storage.Backend {
			info := model
			rand.Read(info.Incarnation[:])
			return storagetest.NewModel(c.Now, info)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := storagetest.NewClock()
			storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
				below := c.open(clock)
				hub := wrappers.NewHub(below)
				b, err := cache.New(hub.Backend(), c.config, wrappers.Settings{Store: "s", Stage: "cache", Clock: clock.Now, Hub: hub})
				return storagetest.WithClose(b, func(ctx context.Context) error { return errors.Join(b.Close(ctx), below.Close(ctx)) }), err
			}})
		})
	}
}

func newMemory(clock *storagetest.Clock) storage.Backend {
	env := sdk.Env{Now: clock.Now}
	rand.Read(env.Incarnation[:])
	return memory.New(memory.DefaultConfig(), env)
}
