package wasmhost

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// withReservedMemory has the instances made with ctx keep their linear memory
// outside of Go's heap: the limit is reserved as address space at once, pages
// are there when they are touched, and growing never moves anything.
func withReservedMemory(ctx context.Context, limit uint64) context.Context {
	return experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(func(_, most uint64) experimental.LinearMemory {
		most = min(most, limit)
		buf, err := unix.Mmap(-1, 0, int(max(most, 1)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
		if err != nil {
			panic(memoryError{fmt.Errorf("reserving %d bytes of linear memory: %w", most, err)})
		}
		return &reserved{buf, most}
	}))
}

type reserved struct {
	buf  []byte
	most uint64
}

// Reallocate gives the first size bytes, nil beyond the limit.
func (r *reserved) Reallocate(size uint64) []byte {
	if size > r.most {
		return nil
	}
	return r.buf[:size:size]
}

// Free gives the memory back. Nothing may look at it any more.
func (r *reserved) Free() {
	if r.buf != nil {
		_ = unix.Munmap(r.buf) // it can only fail for a mapping that is not one
		r.buf = nil
	}
}
