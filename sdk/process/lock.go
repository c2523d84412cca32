//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockWait limits how long Lock waits for a process that is ending.
const lockWait = 5 * time.Second

// Lock takes an exclusive lock on f, which other processes see if they call Lock or
// flock(2) on the same file. It ends when f is closed or the process ends, for whatever
// reason. A backend locks the file with its state before it reads or changes anything:
// the state may be opened a second time by mistake, or a process whose host was killed
// may still be closing it. Lock waits some seconds for that.
//
// The host itself locks a working directory that it grants.
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
