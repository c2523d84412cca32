//go:build !wasip1

package memory

import "sync"

// lock guards the store.
type lock struct{ sync.RWMutex }
