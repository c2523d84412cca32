package memory

import (
	"context"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// Apply does all of w or nothing: see [storage.Backend].
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if err := w.Validate(&b.info); err != nil {
		return 0, err
	}
	if err := storage.ContextError(ctx); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errClosed()
	}
	now := b.now()
	digest, version, err := b.ids.find(w)
	if err != nil || version != 0 {
		return version, err
	}
	b.reap(now, reapPerApply+len(w.Ops))
	for i := range w.Checks {
		if !b.holds(&w.Checks[i], now) {
			return 0, storage.ConflictAt(i)
		}
	}
	if err := b.run(w.Ops, now); err != nil {
		return 0, err
	}
	b.ids.keep(w.ID, digest, b.version)
	b.snapshots.trim(now, b.max-b.used)
	return b.version, nil
}

func (s *state) holds(c *storage.Check, now int64) bool {
	if c.Kind == storage.CheckRange {
		return !s.newer(c, now)
	}
	e := s.live(c.Key, now)
	switch c.Kind {
	case storage.CheckAbsent:
		return e == nil
	case storage.CheckPresent:
		return e != nil
	case storage.CheckValue:
		return e != nil && e.equal(c.Value)
	default:
		return e != nil && e.version == c.Version
	}
}

// newer tells whether a live key of the range is newer than the check's version.
func (s *state) newer(c *storage.Check, now int64) (found bool) {
	if c.Version >= s.version {
		return false
	}
	end := borrow(c.End)
	s.tree.Ascend(borrow(c.Key), func(key string, e *entry) bool {
		if c.End != nil && key >= end {
			return false
		}
		found = e.version > c.Version && !e.expiredAt(now)
		return !found
	})
	return found
}

// run does ops in order at the next version, or nothing where they do not fit.
func (b *Backend) run(ops []storage.Op, now int64) error {
	most := atMost(ops)
	for b.used+most > b.max && b.reap(now, 1) { // no more than makes room
	}
	if b.used+most > b.max {
		if used := b.usedAfter(ops, now); used > b.max {
			e := storage.LimitError(storage.NoSpace, "stored bytes", b.max, used)
			e.Layer = "memory"
			return e
		}
	}
	b.do(ops, now)
	return nil
}

// atMost is what ops can add to the used bytes.
func atMost(ops []storage.Op) (n int64) {
	for i := range ops {
		if o := &ops[i]; o.Kind == storage.OpPut {
			n += sizeOf(o)
		}
	}
	return n
}

// sizeOf is the size of the entry that a put makes.
func sizeOf(o *storage.Op) int64 {
	n := int64(len(o.Key)) + int64(len(o.Value)) + entryOverhead
	if !o.ExpiresAt.IsZero() {
		n += deadlineOverhead
	}
	return n
}

// usedAfter is what would be used after ops, which it does not do.
func (s *state) usedAfter(ops []storage.Op, now int64) int64 {
	used, touched := s.used, map[string]int64{} // the sizes of the keys that ops touch
	set := func(key string, size int64) {
		before, ok := touched[key]
		if e := s.index[key]; !ok && e != nil {
			before = e.size()
		}
		used += size - before
		touched[key] = size
	}
	for i := range ops {
		o := &ops[i]
		switch {
		case o.Kind == storage.OpDeleteRange:
			for key := range touched {
				if storage.InRange([]byte(key), o.Key, o.End) {
					set(key, 0)
				}
			}
			s.ascend(o.Key, o.End, func(e *entry) { set(e.key, 0) })
		case o.Kind == storage.OpDelete, !o.ExpiresAt.IsZero() && millis(o.ExpiresAt) <= now:
			set(string(o.Key), 0)
		default:
			set(string(o.Key), sizeOf(o))
		}
	}
	return used
}

// ascend visits the entries in [start, end), expired ones too.
func (s *state) ascend(start, end []byte, visit func(*entry)) {
	if storage.EmptyRange(start, end) {
		return
	}
	s.tree.Ascend(borrow(start), func(key string, e *entry) bool {
		if end != nil && key >= borrow(end) {
			return false
		}
		visit(e)
		return true
	})
}

func (b *Backend) do(ops []storage.Op, now int64) {
	version, changed := b.version+1, false
	for i := range ops {
		o := &ops[i]
		switch o.Kind {
		case storage.OpPut:
			changed = b.put(o, version, now) || changed
		case storage.OpDelete:
			if e := b.index[string(o.Key)]; e != nil {
				b.remove(e)
				changed = changed || !e.expiredAt(now)
			}
		case storage.OpDeleteRange:
			changed = b.removeRange(o.Key, o.End, now) || changed
		}
	}
	if changed {
		b.version = version
	}
}

// put stores o. One that is already expired removes the key.
func (b *Backend) put(o *storage.Op, version uint64, now int64) (changed bool) {
	expires := millis(o.ExpiresAt)
	old := b.index[string(o.Key)]
	if expires != 0 && expires <= now {
		if old != nil {
			b.remove(old)
		}
		return old != nil && !old.expiredAt(now)
	}
	e := newEntry(o, version, expires)
	if old != nil {
		b.forget(old)
	}
	b.index[e.key] = e
	b.tree.Set(e.key, e)
	b.used += e.size()
	if expires != 0 {
		b.deadlines.Set(e)
	}
	return true
}

// newEntry copies key and value into an encoded item.
func newEntry(o *storage.Op, version uint64, expires int64) *entry {
	e := &entry{version: version, expires: expires}
	end := storage.Item{Version: version, ExpiresAt: e.expiresAt()}
	const wrapping = 40 // the tags and lengths of four fields, and the numbers
	b := make([]byte, 0, len(o.Key)+len(o.Value)+wrapping)
	b = abi.AppendItem(b, &storage.Item{Key: notNil(o.Key)})
	e.keyEnd = uint32(len(b))
	e.key = borrow(b[len(b)-len(o.Key):])
	b = abi.AppendItem(b, &storage.Item{Value: notNil(o.Value)})
	e.value, e.valueEnd = uint32(len(b)-len(o.Value)), uint32(len(b))
	e.item = abi.AppendItem(b, &end)
	return e
}

// notNil is b, which is there also when it is empty.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// remove takes e out.
func (b *Backend) remove(e *entry) {
	delete(b.index, e.key)
	b.tree.Delete(e.key)
	b.forget(e)
}

// forget is the bookkeeping for an entry that is no longer among the current.
func (b *Backend) forget(e *entry) {
	if e.expires != 0 {
		b.deadlines.Delete(e)
	}
	b.used -= e.size()
	b.snapshots.retain(e.size())
}

func (b *Backend) removeRange(start, end []byte, now int64) (changed bool) {
	if len(start) == 0 && end == nil {
		b.reap(now, b.tree.Len())
		changed = b.tree.Len() > 0
		b.snapshots.retain(b.used)
		b.state = newState(b.version)
		return changed
	}
	var gone []*entry
	b.ascend(start, end, func(e *entry) {
		gone = append(gone, e)
		changed = changed || !e.expiredAt(now)
	})
	if len(gone) > b.tree.Len()-len(gone) {
		b.keepOutside(start, end)
		return changed
	}
	for _, e := range gone {
		b.remove(e)
	}
	return changed
}

// keepOutside makes the state anew of what is not in [start, end), which takes less
// than to take the rest out where that is more.
func (b *Backend) keepOutside(start, end []byte) {
	rest := newState(b.version)
	b.tree.Scan(func(key string, e *entry) bool {
		if !inRange(key, start, end) {
			rest.index[key] = e
			rest.tree.Load(key, e)
			rest.used += e.size()
		}
		return true
	})
	b.deadlines.Scan(func(e *entry) bool {
		if !inRange(e.key, start, end) {
			rest.deadlines.Load(e)
		}
		return true
	})
	b.snapshots.retain(b.used - rest.used)
	b.state = rest
}

func inRange(key string, start, end []byte) bool {
	return key >= borrow(start) && (end == nil || key < borrow(end))
}

// reapPerApply is how many expired entries each Apply takes out beside its own
// work: more than it can add, so that they never pile up.
const reapPerApply = 16

// reap takes out at most n expired entries, and tells whether there were as many.
// Nothing that anyone can see changes.
func (b *Backend) reap(now int64, n int) bool {
	for ; n > 0; n-- {
		e, ok := b.deadlines.Min()
		if !ok || !e.expiredAt(now) {
			return false
		}
		b.remove(e)
	}
	return true
}

// millis is at in ms since 1970, rounded up; 0: never.
func millis(at time.Time) int64 {
	if at = storage.ClampExpiry(at); at.IsZero() {
		return 0
	}
	return max(at.UnixMilli(), 1)
}
