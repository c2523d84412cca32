//go:build !unix

package gatekeeper

// private does nothing: sockets have the permissions of their folder.
func private() (end func()) { return func() {} }
