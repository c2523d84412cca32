package pebble

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// The whole kit, with restarts, and with crashes of a machine that loses what was not
// synced.
func TestConformance(t *testing.T) {
	for name, changes := range map[string]bool{syncAlways: false, syncNever: false, "changes": true} {
		t.Run(name, func(t *testing.T) {
			sync := syncAlways
			if name == syncNever {
				sync = syncNever
			}
			clock := storagetest.NewClock()
			var last *Backend
			var fs *vfs.MemFS
			start := func(own *vfs.MemFS) (storage.Backend, error) {
				c := DefaultConfig()
				c.Changes = changes
				c.Sync, c.Cache, c.WriteBuffer, c.Reserve = sync, 1<<20, 1<<20, 0
				env := sdk.Env{Now: clock.Now, Dir: "store", Log: slog.New(slog.DiscardHandler)}
				rand.Read(env.Incarnation[:])
				fs = own
				b, err := open(context.Background(), c, env, fs)
				if err != nil {
					return nil, err
				}
				last = b
				return b, nil
			}
			f := storagetest.Factory{
				Clock:  clock,
				Open:   func(context.Context) (storage.Backend, error) { return start(vfs.NewCrashableMem()) },
				Reopen: func(context.Context) (storage.Backend, error) { return start(fs) },
			}
			if sync == syncAlways {
				f.Crash = func(context.Context) (storage.Backend, error) {
					crashed := fs.CrashClone(vfs.CrashCloneCfg{})
					old := last
					b, err := start(crashed)
					go old.Close(context.Background()) // it writes to a folder that is no longer used
					return b, err
				}
			}
			storagetest.Run(t, f)
		})
	}
}
