package wasmhost

import "context"

// Waiting is how many callers wait for an instance.
func (b *Backend) Waiting() (n int) {
	for _, s := range b.slots {
		s.mu.Lock()
		n += len(s.queue)
		s.mu.Unlock()
	}
	return n
}

// Instances is how many instances there may be.
func (b *Backend) Instances() int { return len(b.slots) }

// MemorySize is the bytes of linear memory of the first instance.
func (b *Backend) MemorySize() uint64 {
	s := b.slots[0]
	if err := s.take(context.Background()); err != nil {
		return 0
	}
	defer s.release()
	return uint64(s.in.guest.Memory().Size())
}
