//go:build unix

package secret

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// mapped counts the mappings of all secrets.
var mapped atomic.Int64

// mostMapped limits mapped: Linux allows a process 65,530 mappings, and Go's own memory needs
// some of them.
const mostMapped = 16 << 10

// allocate returns memory apart from Go's heap, which copies what it moves and is written
// to swap. If none can be had or locked, or if there are mostMapped already, it returns
// ordinary memory.
func allocate(n int) []byte {
	if mapped.Add(1) > mostMapped {
		mapped.Add(-1)
		return make([]byte, n)
	}
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		mapped.Add(-1)
		return make([]byte, n)
	}
	_ = unix.Mlock(b) // there is a limit on how much may be locked
	noDump(b)
	return b
}

// free overwrites memory and gives it back.
func free(b []byte) {
	clear(b)
	if unix.Munmap(b) == nil { // it fails for what is on Go's heap, which the collector frees
		mapped.Add(-1)
	}
}
