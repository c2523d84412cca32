//go:build unix

package carrier

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Folder holds one backend's files. While it is open, no other backend can use it: it is
// locked for this host and its processes, which inherit the lock. If the host is killed,
// the lock lasts until the last of them has ended.
type Folder struct {
	Path string   // empty if none was granted
	lock *os.File // nil if there is nothing to lock
}

// survivor limits how long to wait for a folder in use: a process whose host was killed
// needs a moment to close its files.
const survivor = 5 * time.Second

// Claim makes the folder of a store below dir if there is none, and locks it. An empty dir
// is an empty folder.
func Claim(ctx context.Context, dir, store string, log *slog.Logger) (*Folder, error) {
	if dir == "" {
		return &Folder{}, nil
	}
	f := &Folder{Path: filepath.Join(dir, store)}
	if store != "" {
		if err := os.Mkdir(f.Path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, notMade(dir, err)
		}
	}
	lock, err := os.Open(f.Path)
	if err != nil {
		return nil, notMade(dir, err)
	}
	f.lock = lock
	for deadline := time.Now().Add(survivor); ; {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK):
			log.Warn("cannot lock the folder: make sure that no other host uses it", "folder", f.Path, "error", err)
			return f, nil
		case time.Now().After(deadline):
			f.Release()
			return nil, storage.Errorf(storage.InvalidArgument, "grants.dir: %s is in use by another process%s: a second host with this configuration, or a process that outlived its host; end it first", f.Path, holders(f.Path))
		}
		select {
		case <-ctx.Done():
			f.Release()
			return nil, storage.ContextError(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Release ends the lock, once the processes have gone.
func (f *Folder) Release() {
	if f.lock != nil {
		_ = f.lock.Close() // nothing was written
	}
}

// Inherited returns what a process is handed of the folder.
func (f *Folder) Inherited() []*os.File {
	if f.lock == nil {
		return nil
	}
	return []*os.File{f.lock}
}
