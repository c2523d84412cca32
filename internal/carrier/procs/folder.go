//go:build unix

package procs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// folder is where the processes of one backend keep what they keep. While it is open
// nobody else has a backend in it: it is locked for this host and for its processes,
// which inherit the lock, so that it outlives a host that was killed for as long as one
// of them lives.
type folder struct {
	path string
	lock *os.File // nil: what is there goes with each process
}

// survivor is how long a folder that is in use is waited for: a process whose host was
// killed has a moment to close what it has open.
const survivor = 5 * time.Second

// claim makes the folder of a store if there is none, and locks it.
func (p *Plugin) claim(ctx context.Context, store string) (*folder, error) {
	if p.opts.Dir == "" {
		return &folder{}, nil
	}
	f := &folder{path: filepath.Join(p.opts.Dir, store)}
	if store != "" {
		if err := os.Mkdir(f.path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, storage.Errorf(storage.InvalidArgument, "grants.dir: the folder of the store: %w", err)
		}
	}
	lock, err := os.Open(f.path)
	if err != nil {
		return nil, storage.Errorf(storage.InvalidArgument, "grants.dir: %w", err)
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
			p.opts.Log.Warn("the folder cannot be locked: take care that no other host uses it", "folder", f.path, "error", err)
			return f, nil
		case time.Now().After(deadline):
			f.release()
			return nil, storage.Errorf(storage.InvalidArgument, "grants.dir: %s is in use by another process%s: a second host with this configuration, or something that outlived its host; end it first", f.path, holders(f.path))
		}
		select {
		case <-ctx.Done():
			f.release()
			return nil, storage.ContextError(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// release ends the lock, once the processes have gone.
func (f *folder) release() {
	if f.lock != nil {
		_ = f.lock.Close() // nothing was written
	}
}

// inherited is what a process is handed of the folder.
func (f *folder) inherited() []*os.File {
	if f.lock == nil {
		return nil
	}
	return []*os.File{f.lock}
}
