package storage

import (
	"bytes"
	"slices"
	"time"

	"github.com/plinthkv/plinth/internal/keyrange"
)

// overlay holds what a transaction has written so far: the state that its own reads see on
// top of the backend's.
type overlay struct {
	keys   keyrange.Map[pending]
	ranges keyrange.Set // deleted; they hide the backend's keys only
}

// pending holds the last word on a key: a value, or its removal.
type pending struct {
	value     []byte
	present   bool
	expiresAt time.Time // as if it were committed now; zero means never
}

// item returns p at key, without a version. The value is a copy.
func (p pending) item(key []byte) Item {
	return Item{Key: key, Value: append([]byte{}, p.value...), ExpiresAt: p.expiresAt}
}

// get returns what the transaction made of key; known is false if it did nothing to it.
func (o *overlay) get(key []byte) (p pending, known bool) {
	if p, known = o.keys.Get(key); known {
		return p, true
	}
	return pending{}, o.ranges.Contains(key)
}

func (o *overlay) set(key []byte, p pending) { o.keys.Set(key, p) }

func (o *overlay) deleteRange(start, end []byte) {
	o.keys.Cut(start, end, nil)
	o.ranges.Add(start, end)
}

// merge returns items, which are all that the backend has in [from, to), as the transaction
// sees them.
func (o *overlay) merge(items []Item, from, to []byte, reverse, keysOnly bool) []Item {
	if o.keys.Len() == 0 && o.ranges.Len() == 0 {
		return items
	}
	merged := slices.DeleteFunc(items, func(it Item) bool {
		_, known := o.get(it.Key)
		return known
	})
	n := len(merged)
	o.keys.Ascend(from, to, func(key string, p pending) bool {
		if p.present {
			it := Item{Key: []byte(key), ExpiresAt: p.expiresAt}
			if !keysOnly {
				it.Value = append([]byte{}, p.value...)
			}
			merged = append(merged, it)
		}
		return true
	})
	if n == len(merged) {
		return merged
	}
	slices.SortFunc(merged, func(a, b Item) int {
		if reverse {
			a, b = b, a
		}
		return bytes.Compare(a.Key, b.Key)
	})
	return merged
}
