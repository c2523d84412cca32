//go:build unix

package secret

import "golang.org/x/sys/unix"

// allocate returns memory apart from Go's heap, which copies what it moves and is written
// to swap. If none can be had or locked, it returns ordinary memory.
func allocate(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	_ = unix.Mlock(b) // there is a limit on how much may be locked
	noDump(b)
	return b
}

// free overwrites memory and gives it back.
func free(b []byte) {
	clear(b)
	_ = unix.Munmap(b) // fails for what is on Go's heap, which the collector frees
}
