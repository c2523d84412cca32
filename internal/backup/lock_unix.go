//go:build unix

package backup

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock has other backups keep off a partial file until it is closed, or the process has ended.
func lock(part *os.File) error {
	for {
		switch err := syscall.Flock(int(part.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return inUse(part.Name())
		case !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("lock %s: %w", part.Name(), err)
		}
	}
}

// place gives a partial file its name before it ends the lock.
func place(part *os.File, name string) error {
	return errors.Join(os.Rename(part.Name(), name), part.Close())
}

// drop removes a partial file before it ends the lock.
func drop(part *os.File) error { return errors.Join(os.Remove(part.Name()), part.Close()) }
