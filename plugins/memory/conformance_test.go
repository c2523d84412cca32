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
	storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
		env := sdk.Env{Now: clock.Now}
		rand.Read(env.Incarnation[:])
		return memory.New(memory.DefaultConfig(), env), nil
	}})
}
