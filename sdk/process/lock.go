//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockWait is how long Lock waits for a process that is on its way out.
const lockWait = 5 * time.Second

// Lock takes an exclusive lock on f, which other processes see that call Lock or flock(2)
// on the same file. It ends when f is closed or the process ends, however that happens. A
// backend locks the file that its state is in before it reads or changes anything: it may
// be opened a second time by mistake, and a process whose host was killed may still be
// closing it, for which Lock waits some seconds.
//
// The working directory that a host grants is locked by the host itself.
func Lock(f *os.File) error {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		case time.Now().After(deadline):
			return fmt.Errorf("%s is in use by another process", f.Name())
		}
	}
}
