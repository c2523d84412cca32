package buffer

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/tidwall/btree"

	"github.com/plinthkv/plinth/storage"
)

// layer holds what was written and is not applied: the last word on each key, over ranges
// that were cleared. A layer that others may read does not change any more: a write makes
// another, which shares what it leaves alone.
type layer struct {
	keys   btree.Map[string, pending]
	ranges btree.Map[string, end]           // cleared, by start, disjoint; keys are over them
	checks btree.Map[string, storage.Check] // of what was found below
	bytes  int                              // of keys, values and bounds
	id     [16]byte                         // of the commit
}

// end is where a cleared range ends; open: nowhere.
type end struct {
	key  string
	open bool
}

// before reports whether e lies before other.
func (e end) before(other end) bool { return !e.open && (other.open || e.key < other.key) }

// bytes returns e as the end of an op.
func (e end) bytes() []byte {
	if e.open {
		return nil
	}
	return []byte(e.key)
}

// pending holds the last word on a key: a value, or its removal.
type pending struct {
	value     []byte
	expiresAt time.Time
	present   bool
}

func (p pending) live(now time.Time) bool {
	return p.present && (p.expiresAt.IsZero() || p.expiresAt.After(now))
}

func (l *layer) copy() *layer {
	return &layer{keys: *l.keys.Copy(), ranges: *l.ranges.Copy(), checks: *l.checks.Copy(), bytes: l.bytes}
}

// get returns what the layer says of a key; known is false where it says nothing.
func (l *layer) get(key []byte) (p pending, known bool) {
	if p, known = l.keys.Get(string(key)); known {
		return p, true
	}
	return pending{}, l.cleared(key)
}

func (l *layer) cleared(key []byte) bool {
	covered := false
	l.ranges.Descend(string(key), func(_ string, e end) bool {
		covered = e.open || e.key > string(key)
		return false
	})
	return covered
}

// size returns the ops and checks of the commit.
func (l *layer) size() int { return l.keys.Len() + l.ranges.Len() + l.checks.Len() }

func (l *layer) empty() bool { return l.size() == 0 }

// within reports whether the commit keeps to the limits of the backend.
func (l *layer) within(limits storage.Limits) error {
	if limits.Ops > 0 && l.size() > limits.Ops {
		return storage.LimitError(storage.SizeLimit, "ops", int64(limits.Ops), int64(l.size()))
	}
	if limits.WriteBytes > 0 && l.bytes > limits.WriteBytes {
		return storage.LimitError(storage.SizeLimit, "write set bytes", int64(limits.WriteBytes), int64(l.bytes))
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
func (l *layer) clear(start, to []byte) {
	if storage.EmptyRange(start, to) {
		return
	}
	var gone []string
	l.keys.Ascend(string(start), func(key string, p pending) bool {
		if to != nil && key >= string(to) {
			return false
		}
		gone = append(gone, key)
		l.bytes -= len(key) + len(p.value)
		return true
	})
	for _, key := range gone {
		l.keys.Delete(key)
	}
	l.hide(string(start), end{string(to), to == nil})
}

// hide adds a cleared range, joined with those that it meets.
func (l *layer) hide(start string, last end) {
	l.ranges.Descend(start, func(at string, e end) bool {
		if !e.before(end{key: start}) {
			start = at
			if last.before(e) {
				last = e
			}
		}
		return false
	})
	var met []string
	l.ranges.Ascend(start, func(at string, e end) bool {
		if last.before(end{key: at}) {
			return false
		}
		met = append(met, at)
		if last.before(e) { // as they are disjoint, it is the last that it meets
			last = e
		}
		return true
	})
	for _, at := range met {
		e, _ := l.ranges.Delete(at)
		l.bytes -= len(at) + len(e.key)
	}
	l.ranges.Set(start, last)
	l.bytes += len(start) + len(last.key)
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

// under returns one layer of what l and a later one say.
func (l *layer) under(later *layer) *layer {
	own := l.copy()
	later.ranges.Scan(func(start string, e end) bool {
		own.clear([]byte(start), e.bytes())
		return true
	})
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

// writeSet returns all of the layer as one write set: the ranges, then the keys.
func (l *layer) writeSet() *storage.WriteSet {
	w := &storage.WriteSet{ID: l.id, Checks: l.checks.Values(), Ops: make([]storage.Op, 0, l.ranges.Len()+l.keys.Len())}
	l.ranges.Scan(func(start string, e end) bool {
		w.Ops = append(w.Ops, storage.DeleteRange([]byte(start), e.bytes()))
		return true
	})
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
