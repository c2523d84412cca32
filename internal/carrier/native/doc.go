// Package native is the carrier of backends in Go that the program has linked in: they
// run in the host's process, and their calls are calls of Go.
//
// A panic in such a backend ends the call in which it happened, and the instance, as in any
// other carrier; the host continues. A panic in a goroutine of the backend's own cannot
// be caught: a backend that is not trusted with the process belongs into a process of
// its own (isolation: process).
package native
