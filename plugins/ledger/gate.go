package ledger

import (
	"context"
	"slices"
	"sync"

	"github.com/plinthkv/plinth/storage"
)

// gate keeps writes of this backend out of a range while that is being deleted: its
// keys are listed first, and deleted then. It does nothing against other writers of
// the vault. Whoever came first goes first, where two meet. The zero gate is ready
// for use.
type gate struct {
	mu      sync.Mutex
	visits  []*visit      // those inside and those that wait, as they came
	ranged  int           // of visits
	changed chan struct{} // closed whenever one leaves; nil: nobody waits
}

// visit is a write set that is inside, or waits to be.
type visit struct {
	w      *storage.WriteSet
	ranged bool
}

// enter waits until no write set that came before has a range over a key of w, or
// the other way round. What it answers must leave, unless there is an error.
func (g *gate) enter(ctx context.Context, w *storage.WriteSet) (*visit, error) {
	v := &visit{w: w, ranged: slices.ContainsFunc(w.Ops, func(o storage.Op) bool { return o.Kind == storage.OpDeleteRange })}
	g.mu.Lock()
	g.visits = append(g.visits, v)
	if v.ranged {
		g.ranged++
	}
	for g.blocked(v) {
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			g.leave(v)
			return nil, storage.ContextError(ctx)
		}
		g.mu.Lock()
	}
	g.mu.Unlock()
	return v, nil
}

func (g *gate) leave(v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.ranged {
		g.ranged--
	}
	i := slices.Index(g.visits, v)
	g.visits = slices.Delete(g.visits, i, i+1)
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// blocked tells whether v meets one that came before. It costs nothing where nobody
// deletes a range.
func (g *gate) blocked(v *visit) bool {
	if g.ranged == 0 {
		return false
	}
	for _, other := range g.visits {
		if other == v {
			return false
		}
		if v.ranged && overlap(v.w.Ops, other.w.Ops) || other.ranged && overlap(other.w.Ops, v.w.Ops) {
			return true
		}
	}
	return false
}

// overlap tells whether a range of ranges holds what one of ops is about.
func overlap(ranges, ops []storage.Op) bool {
	for _, r := range ranges {
		if r.Kind != storage.OpDeleteRange || storage.EmptyRange(r.Key, r.End) {
			continue
		}
		for _, o := range ops {
			switch {
			case o.Kind != storage.OpDeleteRange:
				if storage.InRange(o.Key, r.Key, r.End) {
					return true
				}
			case storage.EmptyRange(o.Key, o.End):
			case storage.InRange(o.Key, r.Key, r.End) || storage.InRange(r.Key, o.Key, o.End):
				return true
			}
		}
	}
	return false
}
