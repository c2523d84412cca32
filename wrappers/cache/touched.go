package cache

import (
	"bytes"

	"github.com/plinthkv/plinth/storage"
)

// touched are the keys and ranges that writes in flight touch, each as often as
// there are writes that do.
type touched struct {
	keys   map[string]int
	ranges []storage.Op
}

func (t *touched) has(key []byte) bool {
	if t.keys[borrow(key)] > 0 {
		return true
	}
	for i := range t.ranges {
		if storage.InRange(key, t.ranges[i].Key, t.ranges[i].End) {
			return true
		}
	}
	return false
}

func (t *touched) remove(key string) {
	if t.keys[key]--; t.keys[key] <= 0 {
		delete(t.keys, key)
	}
}

// removeRange takes one range with these bounds out.
func (t *touched) removeRange(start, end []byte) {
	for i := range t.ranges {
		r := &t.ranges[i]
		if bytes.Equal(r.Key, start) && bytes.Equal(r.End, end) && (r.End == nil) == (end == nil) {
			last := len(t.ranges) - 1
			t.ranges[i] = t.ranges[last]
			t.ranges = t.ranges[:last]
			return
		}
	}
}
