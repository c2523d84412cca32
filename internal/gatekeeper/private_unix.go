//go:build unix

package gatekeeper

import "syscall"

// private makes new files accessible to this user only, until the function that it returns
// is called.
func private() (end func()) {
	old := syscall.Umask(0o177)
	return func() { syscall.Umask(old) }
}
