package batch

import (
	"context"

	"github.com/plinthkv/plinth/storage"
)

// entry is a write in the line.
type entry struct {
	ctx   context.Context
	w     *storage.WriteSet // the caller's own where it is alone: not looked at once it is gone
	alone bool              // it is never merged
	size  int               // bytes
	count int               // ops and checks, and itself
	group *group
	sent  bool         // it is in flight, or its caller applies it
	gone  bool         // its caller does not wait any more
	done  chan outcome // of one

	next     []*entry // those that wait for it
	blocked  int      // how many it waits for
	departed bool     // it holds up no other any more
}

// follow has e wait for one that came before.
func (e *entry) follow(before *entry) {
	if before != nil && before != e && !before.departed {
		before.next = append(before.next, e)
		e.blocked++
	}
}

// outcome gives a waiting caller the result of its write, or makes it apply the write itself.
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

// copied returns w in memory of its own, because a caller may leave while it is applied.
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

// merge returns one write set of all.
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
