package sizelimits_test

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/sizelimits"
)

// With the limits of the default pipeline, and with the tightest that leave room.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name   string
		config sizelimits.Config
	}{
		{"default pipeline", sizelimits.Config{Key: 4 << 10, Value: 4 << 20}},
		{"everything", sizelimits.Config{Key: 300, Value: 6 << 10, Ops: 3500, WriteBytes: 128 << 10, Rows: 50}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := storagetest.NewClock()
			storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(context.Context) (storage.Backend, error) {
				env := sdk.Env{Now: clock.Now}
				rand.Read(env.Incarnation[:])
				below := memory.New(memory.DefaultConfig(), env)
				b, err := sizelimits.New(below, c.config, wrappers.Settings{Store: "s", Stage: "size_limits", Clock: clock.Now})
				return storagetest.WithClose(b, below.Close), err
			}})
		})
	}
}
