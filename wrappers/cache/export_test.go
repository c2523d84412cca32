package cache

// Settle does the upkeep that is due, as a busy cache does in addition to its calls.
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

// Strays are the keys that the index has and the entries do not, or the other way
// round.
func (b *Backend) Strays() (n int) {
	b.Settle()
	b.guard.mu.Lock()
	defer b.guard.mu.Unlock()
	b.entries.index.mu.Lock()
	defer b.entries.index.mu.Unlock()
	indexed := b.entries.index.keys.Len()
	for key := range b.entries.Keys() {
		if _, ok := b.entries.index.keys.GetString(key); ok {
			indexed--
		} else {
			n++
		}
	}
	return n + indexed
}
