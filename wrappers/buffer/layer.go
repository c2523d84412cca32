package buffer

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/tidwall/btree"

	"github.com/plinthkv/plinth/storage"
)

// layer is what was written and is not applied: the last word on each key, over
// ranges that were cleared. A layer that others may read does not change any
// more: a write makes another, which shares what it leaves alone.
type layer struct {
	keys   btree.Map[string, pending]
	ranges []storage.Op                     // cleared, disjoint and sorted; keys are over them
	checks btree.Map[string, storage.Check] // of what was found below
	bytes  int                              // of keys and values
	id     [16]byte                         // of the commit
}

// pending is the last word on a key: a value, or its removal.
type pending struct {
	value     []byte
	expiresAt time.Time
	present   bool
}

func (p pending) live(now time.Time) bool {
	return p.present && (p.expiresAt.IsZero() || p.expiresAt.After(now))
}

func (l *layer) copy() *layer {
	return &layer{keys: *l.keys.Copy(), ranges: slices.Clone(l.ranges), checks: *l.checks.Copy(), bytes: l.bytes}
}

// get is what the layer says of a key; known is false where it says nothing.
func (l *layer) get(key []byte) (p pending, known bool) {
	if p, known = l.keys.Get(string(key)); known {
		return p, true
	}
	return pending{}, l.cleared(key)
}

func (l *layer) cleared(key []byte) bool {
	return slices.ContainsFunc(l.ranges, func(r storage.Op) bool { return storage.InRange(key, r.Key, r.End) })
}

// size is the ops and checks of the commit.
func (l *layer) size() int { return l.keys.Len() + len(l.ranges) + l.checks.Len() }

func (l *layer) empty() bool { return l.size() == 0 }

// within tells whether the commit keeps to the limits of the backend.
func (l *layer) within(limits storage.Limits) error {
	if limits.Ops > 0 && l.size() > limits.Ops {
		return storage.LimitError(storage.SizeLimit, "ops", int64(limits.Ops), int64(l.size()))
	}
	size := l.bytes
	for _, r := range l.ranges {
		size += len(r.Key) + len(r.End)
	}
	if limits.WriteBytes > 0 && size > limits.WriteBytes {
		return storage.LimitError(storage.SizeLimit, "write set bytes", int64(limits.WriteBytes), int64(size))
	}
	return nil
}

func (l *layer) set(key string, p pending) {
	old, had := l.keys.Set(key, p)
	if had {
		l.bytes -= len(old.value)
	} else {
		l.bytes += len(key)
	}
	l.bytes += len(p.value)
}

// clear removes the keys of a range from the layer, and hides those below.
func (l *layer) clear(start, end []byte) {
	if storage.EmptyRange(start, end) {
		return
	}
	var gone []string
	l.keys.Ascend(string(start), func(key string, p pending) bool {
		if end != nil && key >= string(end) {
			return false
		}
		gone = append(gone, key)
		l.bytes -= len(key) + len(p.value)
		return true
	})
	for _, key := range gone {
		l.keys.Delete(key)
	}
	l.ranges = joined(append(l.ranges, storage.DeleteRange(bytes.Clone(start), bytes.Clone(end))))
}

// joined sorts ranges and joins those that meet.
func joined(ranges []storage.Op) []storage.Op {
	slices.SortFunc(ranges, func(a, b storage.Op) int { return bytes.Compare(a.Key, b.Key) })
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && (out[n-1].End == nil || bytes.Compare(r.Key, out[n-1].End) <= 0) {
			if last := &out[n-1]; last.End != nil && (r.End == nil || bytes.Compare(r.End, last.End) > 0) {
				last.End = r.End
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// apply does ops in their order.
func (l *layer) apply(ops []storage.Op) {
	for _, o := range ops {
		switch o.Kind {
		case storage.OpPut:
			l.set(string(o.Key), pending{append([]byte{}, o.Value...), o.ExpiresAt, true})
		case storage.OpDelete:
			l.set(string(o.Key), pending{})
		case storage.OpDeleteRange:
			l.clear(o.Key, o.End)
		}
	}
}

// check records a condition on what is below, once.
func (l *layer) check(c storage.Check) {
	c.Key, c.Value = bytes.Clone(c.Key), bytes.Clone(c.Value)
	if _, had := l.checks.Set(string(binary.AppendUvarint([]byte{byte(c.Kind)}, uint64(len(c.Key))))+string(c.Key)+string(c.Value), c); !had {
		l.bytes += len(c.Key) + len(c.Value)
	}
}

// under is one layer of what l and a later one say.
func (l *layer) under(later *layer) *layer {
	own := l.copy()
	for _, r := range later.ranges {
		own.clear(r.Key, r.End)
	}
	later.keys.Scan(func(key string, p pending) bool {
		own.set(key, p)
		return true
	})
	later.checks.Scan(func(_ string, c storage.Check) bool {
		own.check(c)
		return true
	})
	return own
}

// writeSet is all of the layer as one write set: the ranges, then the keys.
func (l *layer) writeSet() *storage.WriteSet {
	w := &storage.WriteSet{ID: l.id, Checks: l.checks.Values(), Ops: slices.Clone(l.ranges)}
	l.keys.Scan(func(key string, p pending) bool {
		switch k := []byte(key); {
		case p.present:
			w.Ops = append(w.Ops, storage.PutUntil(k, p.value, p.expiresAt))
		case !l.cleared(k):
			w.Ops = append(w.Ops, storage.Delete(k))
		}
		return true
	})
	return w
}
