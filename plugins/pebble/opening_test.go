package pebble

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// crashed is a store of 1,000 items whose log the engine has to write as tables.
func crashed(t *testing.T) vfs.FS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll("store", 0o700); err != nil {
		t.Fatal(err)
	}
	b, err := open(t.Context(), DefaultConfig(), sdk.Env{Dir: "store", Log: silent}, fs)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	w := &storage.WriteSet{}
	for i := range 1000 {
		w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "key %d", i), make([]byte, 100)))
	}
	if _, err := b.Apply(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return fs.CrashClone(vfs.CrashCloneCfg{})
}

// spacious is a file system that says how much of it is free.
type spacious struct {
	vfs.FS
	free uint64
}

func (s spacious) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: s.free}, nil
}

// A store on a disk that is full does not open, in bounded time, and says so; with room again
// it opens, and all of it is there.
func TestOpeningOnAFullDisk(t *testing.T) {
	defer func(d time.Duration) { openPatience = d }(openPatience)
	openPatience = 200 * time.Millisecond
	fs := crashed(t)
	env := sdk.Env{Dir: "store", Log: silent}
	_, err := open(t.Context(), DefaultConfig(), env, spacious{fs, openRoom + 1000})
	if e := storage.AsError(err); !errors.Is(err, storage.ErrNoSpace) || e.Limit.Actual != openRoom+1000 || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("with little room: %v", err)
	}

	// What cannot be known before shows while it opens.
	var full atomic.Bool
	full.Store(true)
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			return syscall.ENOSPC
		}
		return nil
	})
	failing := errorfs.Wrap(fs, inject)
	begun := time.Now()
	_, err = open(t.Context(), DefaultConfig(), env, failing)
	if storage.CodeOf(err) != storage.Unavailable || !strings.Contains(err.Error(), "no space") {
		t.Errorf("while writing fails: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	other := errorfs.Wrap(crashed(t), inject)
	if _, err := open(ctx, DefaultConfig(), env, other); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("for who does not wait: %v", err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}

	full.Store(false)
	var b *Backend
	for end := time.Now().Add(20 * time.Second); b == nil; time.Sleep(50 * time.Millisecond) { // the first one ends now, and lets go of the folder
		if b, err = open(t.Context(), DefaultConfig(), env, failing); err != nil && time.Now().After(end) {
			t.Fatal("with room again:", err)
		}
	}
	defer b.Close(context.Background())
	for i := range 1000 {
		if _, err := b.Get(t.Context(), fmt.Appendf(nil, "key %d", i)); err != nil {
			t.Fatal(i, err)
		}
	}
}
