package cache

// Settle does the upkeep that is due, as a busy cache does beside its calls.
func (b *Backend) Settle() { b.entries.CleanUp() }

// Held are how many keys and ranges are held after unknown outcomes.
func (b *Backend) Held() (n int) {
	b.guard.mu.Lock()
	defer b.guard.mu.Unlock()
	for _, h := range b.guard.held {
		n += len(h.keys) + len(h.ranges)
	}
	return n + len(b.guard.held)
}
