//go:build unix && !linux

package etcdtest

import "syscall"

// Dies has a server be in a group of its own; tests end it.
func Dies() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
