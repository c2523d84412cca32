package cache

// Settle does the upkeep that is due, as a busy cache does beside its calls.
func (b *Backend) Settle() { b.entries.CleanUp() }
