//go:build unix && !linux

package pgtest

import "syscall"

// endWithUs does nothing where the system cannot.
func endWithUs(*syscall.SysProcAttr) {}
