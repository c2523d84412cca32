package memory

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Apply does all of w or nothing: see [storage.Backend].
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	one := b.onePut(w)
	if !one {
		if err := w.Validate(&b.info); err != nil {
			return 0, err
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, storage.ContextError(ctx)
	}
	if one {
		if version, ok := b.Put(w.Ops[0].Key, w.Ops[0].Value); ok {
			return version, nil
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errClosed()
	}
	now := b.now()
	b.reap(now, reapPerApply+len(w.Ops))
	b.trim(now)
	return b.apply(w, now)
}

// Put is Apply for one put of an item that never expires, if there is nothing else to
// look at: see [sdk.Putter].
func (b *Backend) Put(key, value []byte) (version uint64, ok bool) {
	b.mu.Lock()
	if ok = len(key) <= mostKey && len(value) <= mostValue && !b.closed && b.deadlines.root == 0 &&
		len(b.snapshots.kept) == 0 && b.dead == 0 && b.used+most(len(key)+len(value)) <= b.max; ok {
		b.version++
		version = b.version
		b.put(key, value, 0, version)
	}
	b.mu.Unlock()
	return version, ok
}

// most is more than the charge of an item with so many bytes of key and value.
func most(n int) int64 { return 2*int64(n) + 256 }

// onePut reports whether w is valid, one put of an item that never expires, and nothing else.
func (b *Backend) onePut(w *storage.WriteSet) bool {
	if len(w.Ops) != 1 || len(w.Checks) != 0 {
		return false
	}
	o := &w.Ops[0]
	return o.Kind == storage.OpPut && o.End == nil && len(o.Key) <= mostKey && len(o.Value) <= mostValue && noID(&w.ID) && o.ExpiresAt.IsZero()
}

// apply is the rest of Apply, for all that there may be to a write set.
func (b *Backend) apply(w *storage.WriteSet, now int64) (uint64, error) {
	digest, version, err := b.ids.find(w)
	if err != nil || version != 0 {
		return version, err
	}
	if i := b.firstFailed(w.Checks, now); i >= 0 {
		return 0, storage.ConflictAt(i)
	}
	if err := b.run(w, now); err != nil {
		return 0, err
	}
	b.ids.keep(w.ID, digest, b.version)
	return b.version, nil
}

// run does the ops in order at the next version, or nothing where they do not fit.
func (b *Backend) run(w *storage.WriteSet, now int64) error {
	most := atMost(w.Ops)
	for b.used+most > b.max && b.reap(now, 1) { // no more than makes room
	}
	if b.used+most > b.max {
		used, err := b.usedAfter(w, now)
		if err != nil {
			return err
		}
		if used > b.max {
			e := storage.LimitError(storage.NoSpace, "stored bytes", b.max, used)
			e.Layer = "memory"
			return e
		}
	}
	b.room(b.max - b.used - most)
	b.do(w.Ops, now)
	return nil
}

// atMost returns what ops can add to the used bytes.
func atMost(ops []storage.Op) (n int64) {
	for i := range ops {
		if o := &ops[i]; o.Kind == storage.OpPut {
			n += chargeOf(o)
		}
	}
	return n
}

// chargeOf returns the charge of the item that a put makes.
func chargeOf(o *storage.Op) int64 {
	s := shape{len(o.Key), len(o.Value), millis(o.ExpiresAt)}
	return s.charge()
}

// chargeAt returns the charge of the item at key, live or expired, or 0 if there is none.
func (s *store) chargeAt(key []byte) int64 {
	r := s.find(key)
	if r == 0 {
		return 0
	}
	have := s.item(r).shape()
	return have.charge()
}

// usedAfter returns what would be used after w, which it does not do.
func (b *Backend) usedAfter(w *storage.WriteSet, now int64) (int64, error) {
	if len(w.Ops) > 1 {
		n, err := storage.Normalize(&storage.WriteSet{Ops: w.Ops}, &b.info)
		if err != nil {
			return 0, err
		}
		w = n
	}
	used := b.used
	for i := range w.Ops {
		o := &w.Ops[i]
		if o.Kind == storage.OpDeleteRange {
			if storage.EmptyRange(o.Key, o.End) {
				continue
			}
			b.ascend(keyTarget(o.Key, 0), o.End, func(_ ref, it item) bool {
				have := it.shape()
				used -= have.charge()
				return true
			})
			continue
		}
		used -= b.chargeAt(o.Key)
		if o.Kind == storage.OpPut && !gone(o, now) {
			used += chargeOf(o)
		}
	}
	return used, nil
}

// gone reports whether a put's item has expired already: it removes the key.
func gone(o *storage.Op, now int64) bool {
	return !o.ExpiresAt.IsZero() && millis(o.ExpiresAt) != 0 && millis(o.ExpiresAt) <= now
}

func (b *Backend) do(ops []storage.Op, now int64) {
	version, changed := b.version+1, false
	for i := range ops {
		o := &ops[i]
		switch {
		case o.Kind == storage.OpPut && !gone(o, now):
			b.put(o.Key, o.Value, millis(o.ExpiresAt), version)
			changed = true
		case o.Kind == storage.OpDeleteRange:
			if !storage.EmptyRange(o.Key, o.End) {
				changed = b.removeRange(o.Key, o.End, now) || changed
			}
		default:
			if r := b.find(o.Key); r != 0 {
				changed = changed || !b.item(r).expiredAt(now)
				b.remove(r)
			}
		}
	}
	if changed {
		b.version = version
	}
}

// reapPerApply is how many expired entries each Apply takes out beside its own
// work: more than it can add, so that they never pile up.
const reapPerApply = 16

// millis is at in ms since 1970, rounded up; 0: never.
func millis(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	if at = storage.ClampExpiry(at); at.IsZero() {
		return 0
	}
	return max(at.UnixMilli(), 1)
}

// noID reports whether there is no ID. A module calls a function to compare arrays.
func noID(id *[16]byte) bool {
	return binary.LittleEndian.Uint64(id[:8])|binary.LittleEndian.Uint64(id[8:]) == 0
}
