package batch

import (
	"context"

	"github.com/plinthkv/plinth/storage"
)

// entry is a write that waits.
type entry struct {
	ctx   context.Context
	w     *storage.WriteSet
	alone bool // it is never merged
	size  int  // bytes
	group *group
	gone  bool         // its caller does not wait any more
	done  chan outcome // of one
}

// outcome is what a waiting caller hears: what came of its write, or that it is
// to apply it itself.
type outcome struct {
	version uint64
	err     error
	itself  bool
}

// group is a merged write set on its way.
type group struct {
	entries []*entry
	cancel  context.CancelFunc
	left    int // callers who do not wait any more
}

// copied is w in memory of its own, for a caller may leave while it is applied.
func copied(w *storage.WriteSet, size int) *storage.WriteSet {
	own := &storage.WriteSet{Ops: make([]storage.Op, len(w.Ops))}
	room := make([]byte, 0, size)
	keep := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		from := len(room)
		room = append(room, b...)
		return room[from:len(room):len(room)]
	}
	for i, o := range w.Ops {
		o.Key, o.End, o.Value = keep(o.Key), keep(o.End), keep(o.Value)
		own.Ops[i] = o
	}
	return own
}

func sizeOf(w *storage.WriteSet) (n int) {
	for i := range w.Ops {
		n += len(w.Ops[i].Key) + len(w.Ops[i].End) + len(w.Ops[i].Value)
	}
	return n
}

// take picks from what waits, in order: the members of the next merged write
// set, and those that their callers are to apply themselves now. What meets
// something that stays behind stays too, and so does what meets a member, or a
// write that waited before and is under way now. The first of all stays only for
// one of those.
func take(waiting, under []*entry, maxOps, maxBytes int) (members, alone, rest []*entry) {
	var sent, behind footprint
	for _, e := range under {
		sent.add(e.w)
	}
	ops, size := 0, 0
	for i, e := range waiting {
		if ops >= maxOps || size >= maxBytes {
			return members, alone, append(rest, waiting[i:]...)
		}
		fits := len(members) == 0 || ops+len(e.w.Ops) <= maxOps && size+e.size <= maxBytes
		switch {
		case behind.meets(e.w) || sent.meets(e.w) || !e.alone && !fits:
			behind.add(e.w)
			rest = append(rest, e)
			continue
		case e.alone:
			alone = append(alone, e)
		default:
			members = append(members, e)
			ops += len(e.w.Ops)
			size += e.size
		}
		sent.add(e.w)
	}
	return members, alone, rest
}

// merge is one write set of all.
func merge(members []*entry) *storage.WriteSet {
	if len(members) == 1 {
		return members[0].w
	}
	n := 0
	for _, e := range members {
		n += len(e.w.Ops)
	}
	w := &storage.WriteSet{Ops: make([]storage.Op, 0, n)}
	for _, e := range members {
		w.Ops = append(w.Ops, e.w.Ops...)
	}
	return w
}

// meetsAny tells whether w touches what something that waits does.
func meetsAny(waiting []*entry, w *storage.WriteSet) bool {
	if len(waiting) == 0 {
		return false
	}
	var own footprint
	own.add(w)
	for _, e := range waiting {
		if own.meets(e.w) {
			return true
		}
	}
	return false
}
