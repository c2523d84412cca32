// Package native is the carrier of backends in Go that the program has linked in: they
// run in the host's process, and their calls are calls of Go.
//
// A panic in such a backend ends the call that it happened in, and the instance, as it
// would in another carrier; the host goes on. What a goroutine of the backend's own
// does, nobody can catch: a backend that is not trusted with the process belongs into
// one of its own (isolation: process).
package native
