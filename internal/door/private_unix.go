//go:build unix

package door

import "syscall"

// private has what is created be this user's alone, until the function that it returns is
// called.
func private() (end func()) {
	old := syscall.Umask(0o177)
	return func() { syscall.Umask(old) }
}
