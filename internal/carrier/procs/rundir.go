//go:build unix

package procs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"github.com/plinthkv/plinth/internal/private"
	"github.com/plinthkv/plinth/storage"
)

// hostFile is in the folder of each run. Its host holds a lock on it: a folder whose lock is
// free has no host any more.
const hostFile = "host"

// runDir makes a folder for the sockets of a run, and marks it as this host's. The path of a
// socket is short.
func (p *Plugin) runDir() (dir string, mark *os.File, err error) {
	dir, err = os.MkdirTemp("", "plinth")
	if err != nil {
		return "", nil, storage.Errorf(storage.Unavailable, "start plugin: no folder for sockets: %w", err)
	}
	if err := private.Dir(dir); err != nil {
		_ = os.Remove(dir) // it is empty
		return "", nil, storage.Errorf(storage.InvalidArgument, "start plugin: folder for sockets: %w: set TMPDIR to another one", err)
	}
	const longest = len("/plugin-dir4294967295/plugin4294967295")
	if most := len(syscall.RawSockaddrUnix{}.Path) - 1 - longest; len(dir) > most {
		_ = os.Remove(dir) // it is empty
		return "", nil, storage.Errorf(storage.InvalidArgument, "start plugin: the path of the folder for sockets, %s, has %d bytes, the limit is %d: set TMPDIR to a shorter path", dir, len(dir), most)
	}
	if mark, err = own(dir); err != nil {
		p.remove(dir)
		return "", nil, storage.Errorf(storage.Unavailable, "start plugin: folder for sockets: %w", err)
	}
	return dir, mark, nil
}

// own marks a folder as this host's. The file has its name once it is locked.
func own(dir string) (*os.File, error) {
	path := filepath.Join(dir, hostFile)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return f, nil // nothing can be locked there: without the name, it is not removed
	}
	if err := os.Rename(path+".new", path); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// leave removes the folder of a run that has ended.
func (p *Plugin) leave(dir string, mark *os.File) {
	p.remove(dir)
	_ = mark.Close() // nothing was written
}

// remove removes the folder of a run that has ended, now or later: removing a folder needs a
// descriptor, and there may be none left.
func (p *Plugin) remove(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = append(p.left, dir)
}

// sweep removes what could not be removed before, and, the first time, what others left.
func (p *Plugin) sweep() {
	p.swept.Do(sweepAbandoned)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = slices.DeleteFunc(p.left, func(dir string) bool { return os.RemoveAll(dir) == nil })
}

// runName matches the names of folders of runs.
var runName = regexp.MustCompile(`^plinth[0-9]+$`)

// sweepAbandoned removes the folders of runs whose host was killed together with the process,
// which would have removed it: there may be secrets in them.
func sweepAbandoned() {
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		if dir := filepath.Join(os.TempDir(), e.Name()); e.IsDir() && runName.MatchString(e.Name()) && private.Dir(dir) == nil {
			removeAbandoned(dir)
		}
	}
}

func removeAbandoned(dir string) {
	f, err := os.OpenFile(filepath.Join(dir, hostFile), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return // it is none of ours
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		_ = os.RemoveAll(dir) // the next start tries again
	}
}
