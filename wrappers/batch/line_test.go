package batch

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

// anySet is a random write set on few keys.
func anySet(r *rand.Rand) *storage.WriteSet {
	w := &storage.WriteSet{}
	key := func() []byte { return fmt.Appendf(nil, "%d", r.IntN(9)) }
	for range 1 + r.IntN(2) {
		switch r.IntN(8) {
		case 0:
			w.Ops = append(w.Ops, storage.DeleteRange(key(), key()))
		case 1:
			w.Ops = append(w.Ops, storage.DeleteRange(key(), nil))
		case 2:
			w.Checks = append(w.Checks, storage.Check{Kind: storage.CheckRange, Key: key(), End: key()})
		case 3:
			w.Checks = append(w.Checks, storage.Absent(key()))
		default:
			w.Ops = append(w.Ops, storage.Put(key(), nil))
		}
	}
	return w
}

// meet reports whether two write sets meet, found the slow way.
func meet(a, b *storage.WriteSet) bool {
	return each(a, func(s1, e1 []byte, r1 bool) bool {
		s1, e1 = bounds(s1, e1, r1)
		return each(b, func(s2, e2 []byte, r2 bool) bool {
			s2, e2 = bounds(s2, e2, r2)
			return (e1 == nil || bytes.Compare(s2, e1) < 0) && (e2 == nil || bytes.Compare(s1, e2) < 0)
		})
	})
}

// Nobody goes before somebody it meets who came earlier; as long as all wait, everybody goes
// as soon as there is none; and in the end all have gone, those who left included.
func TestLine(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		var l line
		var waiting, under, order []*entry
		sets := map[*entry]*storage.WriteSet{}
		left := 0
		free := func(e *entry) {
			for _, before := range order {
				if before == e {
					break
				}
				if !before.departed && !before.gone && meet(sets[before], sets[e]) {
					t.Fatalf("seed %d: %v goes before %v", seed, sets[e], sets[before])
				}
			}
			e.sent = true
			under = append(under, e)
			for i := range waiting {
				if waiting[i] == e {
					waiting = append(waiting[:i], waiting[i+1:]...)
					return
				}
			}
			t.Fatalf("seed %d: one goes twice", seed)
		}
		depart := func() {
			i := r.IntN(len(under))
			e := under[i]
			under = append(under[:i], under[i+1:]...)
			l.depart([]*entry{e}, free)
			l.tidy(free)
		}
		for range 150 {
			switch n := r.IntN(10); {
			case n < 6:
				w := anySet(r)
				met := false
				for _, e := range order {
					met = met || !e.departed && !e.gone && meet(sets[e], w)
				}
				if got := l.meets(w); got != met && (left == 0 || met) {
					t.Fatalf("seed %d: meets: %v", seed, got)
				}
				e := &entry{w: w, count: 1 + len(w.Ops) + len(w.Checks)}
				sets[e] = w
				order = append(order, e)
				waiting = append(waiting, e)
				l.add(e)
				if left == 0 && met != (e.blocked > 0) {
					t.Fatalf("seed %d: %v is held up %d times", seed, w, e.blocked)
				}
				if e.blocked == 0 {
					free(e)
				}
			case n < 9 && len(under) > 0:
				depart()
			case seed%2 == 0 && len(waiting) > 0: // one leaves
				i := r.IntN(len(waiting))
				e := waiting[i]
				waiting = append(waiting[:i], waiting[i+1:]...)
				e.gone, e.w = true, nil
				l.live -= e.count
				l.stale += e.count
				e.count = 0
				left++
				l.tidy(free)
			}
			if len(l.all) > 2*(len(waiting)+len(under)+left)+200 {
				t.Fatalf("seed %d: %d are remembered", seed, len(l.all))
			}
		}
		for len(under) > 0 {
			depart()
		}
		if len(waiting) > 0 || l.live != 0 || len(l.all) != 0 {
			t.Fatalf("seed %d: %d wait indefinitely, %d are counted", seed, len(waiting), l.live)
		}
	}
}
