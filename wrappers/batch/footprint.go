package batch

import (
	"bytes"

	"github.com/plinthkv/plinth/storage"
)

// footprint is the keys and ranges that some write sets touch, those that they
// only check included.
type footprint struct {
	keys   map[string]struct{}
	ranges []span
}

type span struct{ start, end []byte }

func (s span) meets(o span) bool {
	return (s.end == nil || bytes.Compare(o.start, s.end) < 0) && (o.end == nil || bytes.Compare(s.start, o.end) < 0)
}

// each calls f with what w touches: a key, or a range.
func each(w *storage.WriteSet, f func(key []byte, r *span) bool) bool {
	for i := range w.Ops {
		o := &w.Ops[i]
		if o.Kind == storage.OpDeleteRange {
			if r := (span{o.Key, o.End}); !storage.EmptyRange(o.Key, o.End) && f(nil, &r) {
				return true
			}
		} else if f(o.Key, nil) {
			return true
		}
	}
	for i := range w.Checks {
		c := &w.Checks[i]
		if c.Kind == storage.CheckRange {
			if r := (span{c.Key, c.End}); !storage.EmptyRange(c.Key, c.End) && f(nil, &r) {
				return true
			}
		} else if f(c.Key, nil) {
			return true
		}
	}
	return false
}

// meets tells whether w touches what f does.
func (f *footprint) meets(w *storage.WriteSet) bool {
	if len(f.keys) == 0 && len(f.ranges) == 0 {
		return false
	}
	return each(w, func(key []byte, r *span) bool {
		if r == nil {
			_, met := f.keys[string(key)]
			return met || f.covers(key)
		}
		for _, have := range f.ranges {
			if have.meets(*r) {
				return true
			}
		}
		for k := range f.keys {
			if storage.InRange([]byte(k), r.start, r.end) {
				return true
			}
		}
		return false
	})
}

func (f *footprint) covers(key []byte) bool {
	for _, r := range f.ranges {
		if storage.InRange(key, r.start, r.end) {
			return true
		}
	}
	return false
}

// add takes in what w touches.
func (f *footprint) add(w *storage.WriteSet) {
	each(w, func(key []byte, r *span) bool {
		if r != nil {
			f.ranges = append(f.ranges, *r)
			return false
		}
		if f.keys == nil {
			f.keys = map[string]struct{}{}
		}
		f.keys[string(key)] = struct{}{}
		return false
	})
}
