package memory

import (
	"context"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Apply does all of w or nothing: see [storage.Backend].
func (b *Backend) Apply(_ context.Context, w *storage.WriteSet) (uint64, error) {
	if err := w.Validate(&b.info); err != nil {
		return 0, err
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errClosed()
	}
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

// run does ops in order at the next version. Where they might not fit it works
// on a copy, so that a refusal leaves nothing behind.
func (b *Backend) run(ops []storage.Op, now int64) error {
	if b.used+atMost(ops) <= b.max {
		b.do(ops, now)
		return nil
	}
	b.reap(now, b.tree.Len())
	before := b.state
	b.tree, b.deadlines = before.tree.Copy(), before.deadlines.Copy()
	retained := b.snapshots.retained
	b.do(ops, now)
	if b.used > b.max {
		used := b.used
		b.state, b.snapshots.retained = before, retained
		e := storage.LimitError(storage.NoSpace, "stored bytes", b.max, used)
		e.Layer = "memory"
		return e
	}
	return nil
}

// atMost is what ops can add to the used bytes.
func atMost(ops []storage.Op) (n int64) {
	for i := range ops {
		if o := &ops[i]; o.Kind == storage.OpPut {
			n += int64(len(o.Key)) + int64(len(o.Value)) + entryOverhead + deadlineOverhead
		}
	}
	return n
}

func (b *Backend) do(ops []storage.Op, now int64) {
	version, changed := b.version+1, false
	for i := range ops {
		o := &ops[i]
		switch o.Kind {
		case storage.OpPut:
			changed = b.put(o, version, now) || changed
		case storage.OpDelete:
			if e, ok := b.tree.Get(borrow(o.Key)); ok {
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
	if expires != 0 && expires <= now {
		e, ok := b.tree.Get(borrow(o.Key))
		if ok {
			b.remove(e)
		}
		return ok && !e.expiredAt(now)
	}
	n := len(o.Key)
	buf := make([]byte, n+len(o.Value))
	copy(buf, o.Key)
	copy(buf[n:], o.Value)
	e := &entry{key: borrow(buf[:n]), value: buf[n:len(buf):len(buf)], version: version, expires: expires}
	if old, replaced := b.tree.Set(e.key, e); replaced {
		b.forget(old)
	}
	b.used += e.size()
	if expires != 0 {
		b.deadlines.Set(e)
	}
	return true
}

// remove takes e out of the tree.
func (b *Backend) remove(e *entry) {
	b.tree.Delete(e.key)
	b.forget(e)
}

// forget is the bookkeeping for an entry that has left the tree.
func (b *Backend) forget(e *entry) {
	if e.expires != 0 {
		b.deadlines.Delete(e)
	}
	b.used -= e.size()
	b.snapshots.retain(e.size())
}

func (b *Backend) removeRange(start, end []byte, now int64) (changed bool) {
	if storage.EmptyRange(start, end) {
		return false
	}
	var gone []*entry
	b.tree.Ascend(borrow(start), func(key string, e *entry) bool {
		if end != nil && strings.Compare(key, borrow(end)) >= 0 {
			return false
		}
		gone = append(gone, e)
		return true
	})
	for _, e := range gone {
		changed = changed || !e.expiredAt(now)
		b.remove(e)
	}
	return changed
}

// reapPerApply is how many expired entries each Apply takes out beside its own
// work: more than it can add, so that they never pile up.
const reapPerApply = 16

// reap takes out at most n expired entries. Nothing that anyone can see changes.
func (b *Backend) reap(now int64, n int) {
	for ; n > 0; n-- {
		e, ok := b.deadlines.Min()
		if !ok || !e.expiredAt(now) {
			return
		}
		b.remove(e)
	}
}

// millis is at in ms since 1970, rounded up; 0: never.
func millis(at time.Time) int64 {
	if at = storage.ClampExpiry(at); at.IsZero() {
		return 0
	}
	return max(at.UnixMilli(), 1)
}
