//go:build !unix

package etcdtest

import "syscall"

// Dies returns nil on this system.
func Dies() *syscall.SysProcAttr { return nil }
