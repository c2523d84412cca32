package ledger

import (
	"context"
	"sync"

	"github.com/plinthkv/plinth/internal/keyrange"
	"github.com/plinthkv/plinth/storage"
)

// gate keeps writes of this backend out of a range while that is being deleted: its
// keys are listed first, and deleted then. It does nothing against other writers of
// the vault. Whoever came first goes first, where two meet. The zero gate is ready
// for use.
type gate struct {
	mu     sync.Mutex
	visits map[*visit]struct{} // those inside and those that wait
	ranged int                 // of visits
}

// visit is a write set that is inside, or waits to be.
type visit struct {
	ops  []storage.Op
	gone chan struct{} // closed when it leaves
	// deleted is the union of its ranges. starts are the keys of its ops and the starts of
	// its ranges, in order; they are computed when first needed.
	deleted keyrange.Set
	starts  *keyrange.Map[struct{}]
}

func newVisit(w *storage.WriteSet) *visit {
	v := &visit{ops: w.Ops, gone: make(chan struct{})}
	for i := range w.Ops {
		if o := &w.Ops[i]; o.Kind == storage.OpDeleteRange {
			v.deleted.Add(o.Key, o.End)
		}
	}
	return v
}

func (v *visit) ranged() bool { return v.deleted.Len() > 0 }

// index returns starts, made when it is asked for first. The gate's lock is held.
func (v *visit) index() *keyrange.Map[struct{}] {
	if v.starts == nil {
		v.starts = &keyrange.Map[struct{}]{}
		for i := range v.ops {
			if o := &v.ops[i]; o.Kind != storage.OpDeleteRange || !storage.EmptyRange(o.Key, o.End) {
				v.starts.Set(o.Key, struct{}{})
			}
		}
	}
	return v.starts
}

// deletes reports whether a range of v holds what other is about, or begins in one of
// its ranges.
func (v *visit) deletes(other *visit) (met bool) {
	v.deleted.All(func(start, end []byte) bool {
		met = other.deleted.Contains(start)
		other.index().Ascend(start, end, func(string, struct{}) bool {
			met = true
			return false
		})
		return !met
	})
	return met
}

// enter waits until no write set that came before has a range over a key of w, or the
// other way round. The visit that it returns must leave, unless there is an error.
func (g *gate) enter(ctx context.Context, w *storage.WriteSet) (*visit, error) {
	v := newVisit(w)
	for _, before := range g.join(v) {
		select {
		case <-before.gone:
		case <-ctx.Done():
			g.leave(v)
			return nil, storage.ContextError(ctx)
		}
	}
	return v, nil
}

// join adds v and returns the visits that it has to wait for. It costs nothing unless a
// range is being deleted.
func (g *gate) join(v *visit) (before []*visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.visits == nil {
		g.visits = map[*visit]struct{}{}
	}
	if v.ranged() {
		g.ranged++
	}
	if g.ranged > 0 {
		for other := range g.visits {
			if v.ranged() && v.deletes(other) || other.ranged() && other.deletes(v) {
				before = append(before, other)
			}
		}
	}
	g.visits[v] = struct{}{}
	return before
}

func (g *gate) leave(v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.ranged() {
		g.ranged--
	}
	delete(g.visits, v)
	close(v.gone)
}
