//go:build unix && !linux

package etcd

import "syscall"

// dies has a server be in a group of its own; tests end it.
func dies() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
