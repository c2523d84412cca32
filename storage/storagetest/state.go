package storagetest

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// state holds a store at one moment, in the plainest form there is. It is never changed:
// apply makes another.
type state struct {
	items   map[string]storage.Item // expired ones too, until something is put over them
	version uint64
}

func (s state) get(key []byte, now time.Time) (storage.Item, bool) {
	it, ok := s.items[string(key)]
	return it, ok && !storage.Expired(it.ExpiresAt, now)
}

// within returns the live items of [start, end), in byte order.
func (s state) within(start, end []byte, now time.Time) (items []storage.Item) {
	for _, it := range s.items {
		if storage.InRange(it.Key, start, end) && !storage.Expired(it.ExpiresAt, now) {
			items = append(items, it)
		}
	}
	slices.SortFunc(items, func(a, b storage.Item) int { return bytes.Compare(a.Key, b.Key) })
	return items
}

func (s state) holds(c storage.Check, now time.Time) bool {
	it, live := s.get(c.Key, now)
	switch c.Kind {
	case storage.CheckAbsent:
		return !live
	case storage.CheckPresent:
		return live
	case storage.CheckValue:
		return live && bytes.Equal(it.Value, c.Value)
	case storage.CheckVersion:
		return live && it.Version == c.Version
	case storage.CheckRange:
		for _, it := range s.within(c.Key, c.End, now) {
			if it.Version > c.Version {
				return false
			}
		}
		return true
	}
	return false
}

// failing returns the index of the first check that does not hold, or -1 if all do.
func (s state) failing(checks []storage.Check, now time.Time) int {
	return slices.IndexFunc(checks, func(c storage.Check) bool { return !s.holds(c, now) })
}

// apply returns the state after ops, at version if they change something.
func (s state) apply(ops []storage.Op, now time.Time, version uint64) state {
	next := state{items: maps.Clone(s.items), version: s.version}
	if next.items == nil {
		next.items = map[string]storage.Item{}
	}
	for _, o := range ops {
		if next.do(o, now, version) {
			next.version = version
		}
	}
	return next
}

// do does o in place, and reports whether anyone can see it.
func (s state) do(o storage.Op, now time.Time, version uint64) (changed bool) {
	remove := func(key []byte) bool {
		_, live := s.get(key, now)
		delete(s.items, string(key))
		return live
	}
	switch o.Kind {
	case storage.OpDelete:
		return remove(o.Key)
	case storage.OpDeleteRange:
		for _, it := range s.within(o.Key, o.End, now) {
			changed = remove(it.Key) || changed
		}
		return changed
	}
	if storage.Expired(o.ExpiresAt, now) {
		return remove(o.Key)
	}
	s.items[string(o.Key)] = storage.Item{Key: copied(o.Key), Value: copied(o.Value), Version: version, ExpiresAt: storage.ClampExpiry(o.ExpiresAt)}
	return true
}

// copied returns a copy of b; never nil.
func copied(b []byte) []byte { return append([]byte{}, b...) }
