//go:build !linux

package postgres

import "syscall"

// endWithUs does nothing where the system cannot.
func endWithUs(*syscall.SysProcAttr) {}
