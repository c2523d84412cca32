package storage

import (
	"bytes"
	"slices"
	"strings"
)

// overlay is what a transaction has written so far: the state that its own
// reads see on top of the backend's.
type overlay struct {
	keys   map[string]pending
	ranges []Op     // range deletes; they hide the backend's keys only
	sorted []string // the keys in order; nil: to be made again
}

// pending is the last word on a key: a value, or its removal.
type pending struct {
	value   []byte
	present bool
}

// get tells what the transaction made of key; known is false where it did nothing to it.
func (o *overlay) get(key []byte) (p pending, known bool) {
	if p, known = o.keys[string(key)]; known {
		return p, true
	}
	return pending{}, coveredBy(o.ranges, key)
}

func (o *overlay) set(key []byte, p pending) {
	if o.keys == nil {
		o.keys = map[string]pending{}
	}
	if _, known := o.keys[string(key)]; !known {
		o.sorted = nil
	}
	o.keys[string(key)] = p
}

func (o *overlay) deleteRange(start, end []byte) {
	for k := range o.keys {
		if InRange([]byte(k), start, end) {
			delete(o.keys, k)
			o.sorted = nil
		}
	}
	o.ranges = append(o.ranges, DeleteRange(start, end))
}

// merge is items, which are all that the backend has in [from, to), as the
// transaction sees them.
func (o *overlay) merge(items []Item, from, to []byte, reverse, keysOnly bool) []Item {
	own := o.between(from, to)
	if len(own) == 0 && len(o.ranges) == 0 {
		return items
	}
	merged := slices.DeleteFunc(items, func(it Item) bool {
		_, known := o.get(it.Key)
		return known
	})
	for _, k := range own {
		if p := o.keys[k]; p.present {
			it := Item{Key: []byte(k)}
			if !keysOnly {
				it.Value = append([]byte{}, p.value...)
			}
			merged = append(merged, it)
		}
	}
	slices.SortFunc(merged, func(a, b Item) int {
		if reverse {
			a, b = b, a
		}
		return bytes.Compare(a.Key, b.Key)
	})
	return merged
}

// between is the overlay's keys in [from, to), in order.
func (o *overlay) between(from, to []byte) []string {
	if o.sorted == nil && len(o.keys) > 0 {
		o.sorted = make([]string, 0, len(o.keys))
		for k := range o.keys {
			o.sorted = append(o.sorted, k)
		}
		slices.Sort(o.sorted)
	}
	lo, _ := slices.BinarySearchFunc(o.sorted, string(from), strings.Compare)
	hi := len(o.sorted)
	if to != nil {
		hi, _ = slices.BinarySearchFunc(o.sorted, string(to), strings.Compare)
	}
	if hi <= lo {
		return nil
	}
	return o.sorted[lo:hi]
}
