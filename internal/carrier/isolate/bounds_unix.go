//go:build unix

package isolate

import (
	"errors"
	"syscall"
	"time"
)

// set bounds this process. Its parent bounds the time too, unless it is gone.
func (b Bounds) set() error {
	expendable()
	seconds := uint64(b.Time/time.Second) + 1
	return errors.Join(
		syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: uint64(b.Memory), Max: uint64(b.Memory)}),
		syscall.Setrlimit(syscall.RLIMIT_CPU, &syscall.Rlimit{Cur: 2 * seconds, Max: 2 * seconds}))
}
