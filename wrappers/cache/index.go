package cache

import (
	"sync"

	"github.com/maypok86/otter/v2"

	"github.com/plinthkv/plinth/internal/keyrange"
)

// index has the keys of the entries in order, so that what a range deletes is found
// without a look at all the others. A key comes and goes under the lock of its
// bucket, together with its entry: both always know the same keys.
type index struct {
	mu   sync.Mutex
	keys keyrange.Map[struct{}]
}

func (x *index) add(key string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keys.SetString(key, struct{}{})
}

func (x *index) remove(key string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keys.DeleteString(key)
}

// cut takes the keys in [start, end) out.
func (x *index) cut(start, end []byte) (keys []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keys.Cut(start, end, func(key string, _ struct{}) { keys = append(keys, key) })
	return keys
}

func (x *index) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.keys = keyrange.Map[struct{}]{}
}

// kept holds the entries and their index.
type kept struct {
	*otter.Cache[string, *entry]
	index *index
}

// set keeps an entry. No other set may run meanwhile.
func (k kept) set(key string, e *entry) {
	k.Compute(key, func(*entry, bool) (*entry, otter.ComputeOp) {
		k.index.add(key)
		return e, otter.WriteOp
	})
}

// dropRange forgets the keys in [start, end). No set may run meanwhile.
func (k kept) dropRange(start, end []byte) {
	if len(start) == 0 && end == nil {
		k.index.clear() // at once: else each entry would take its own key out
		k.InvalidateAll()
		return
	}
	for _, key := range k.index.cut(start, end) {
		k.Invalidate(key)
	}
}
