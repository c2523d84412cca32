package memory_test

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

func TestConformance(t *testing.T) {
	clock := storagetest.NewClock()
	open := func(c memory.Config) (storage.Backend, error) {
		env := sdk.Env{Now: clock.Now}
		rand.Read(env.Incarnation[:])
		return memory.New(c, env), nil
	}
	storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
		return open(memory.DefaultConfig())
	}, Full: func(context.Context) (storage.Backend, error) {
		c := memory.DefaultConfig()
		c.MaxBytes = 8 << 20
		return open(c)
	}})
}
