package wasmhost

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
