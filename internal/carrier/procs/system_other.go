//go:build unix && !linux

package procs

import (
	"syscall"

	"github.com/plinthkv/plinth/storage"
)

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func (r *process) limit(uint64) error { return nil }

func canLimit() *storage.Error {
	return storage.Errorf(storage.Unsupported, "limits.memory of a process is supported on Linux only")
}

// noexec returns false: the flag is not known here.
func noexec(string) bool { return false }
