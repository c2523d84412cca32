package cache

import "github.com/plinthkv/plinth/internal/keyrange"

// touched counts the keys and ranges that writes in flight touch, each as often as there
// are writes that do.
type touched struct {
	keys       map[string]int
	ranges     keyrange.Counts
	rangeCount int
}

func (t *touched) has(key []byte) bool {
	return t.keys[borrow(key)] > 0 || t.ranges.Of(key) > 0
}

func (t *touched) remove(key string) {
	if t.keys[key]--; t.keys[key] <= 0 {
		delete(t.keys, key)
	}
}

// addRange adds [start, end) n times, or takes it out where n is negative.
func (t *touched) addRange(start, end []byte, n int) {
	t.ranges.Add(start, end, n)
	t.rangeCount += n
}
