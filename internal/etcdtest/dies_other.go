//go:build !unix

package etcdtest

import "syscall"

// Dies is nothing special on this system.
func Dies() *syscall.SysProcAttr { return nil }
