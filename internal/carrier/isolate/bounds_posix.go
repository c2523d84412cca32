//go:build unix && !linux

package isolate

import "syscall"

// attributes put a worker into a process group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// expendable does nothing: the system has no such preference.
func expendable() {}
