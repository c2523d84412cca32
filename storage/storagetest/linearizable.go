package storagetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func linearizabilityChecks() []Check {
	return in("linearizability",
		is("single_keys", 0, func(t *T) {
			t.linearizable(6, 500, func(r *rand.Rand, c client) {
				key := []byte{byte('a' + r.IntN(3))}
				switch value := c.value(); r.IntN(6) {
				case 0, 1, 2:
					c.b.Get(t.ctx, key)
				case 3:
					c.s.Set(t.ctx, key, value)
				case 4:
					c.s.Delete(t.ctx, key)
				default:
					it, err := c.b.Get(t.ctx, key)
					switch {
					case err != nil:
						c.s.Put(t.ctx, key, value, storage.IfAbsent())
					case t.has(storage.CapVersions) && r.IntN(2) == 0:
						c.s.Put(t.ctx, key, value, storage.IfVersion(it.Version))
					default:
						c.s.Put(t.ctx, key, value, storage.IfValue(it.Value))
					}
				}
			})
		}),
		is("whole_store", 0, func(t *T) { t.linearizable(5, 400, t.anything) }),
	)
}

// client is one of those whose calls are recorded.
type client struct {
	b storage.Backend
	s *storage.Store
	n *int
	i int
}

// value returns a value that no other client writes.
func (c client) value() []byte {
	*c.n++
	return fmt.Appendf(nil, "%d.%d", c.i, *c.n)
}

// linearizable has clients do calls each, and checks the history.
func (t *T) linearizable(clients, calls int, do func(*rand.Rand, client)) {
	h, err := NewHistory(t.ctx, t.b)
	t.must(err)
	start := make(chan struct{})
	var ready sync.WaitGroup
	ready.Add(clients)
	go func() { ready.Wait(); close(start) }()
	t.parallel(clients, func(i int) {
		ready.Done()
		<-start
		c := client{b: h.Client(), n: new(int), i: i}
		c.s = storage.New(c.b, storage.Settings{Clock: t.clock.Now})
		r := rand.New(rand.NewPCG(uint64(i), 7))
		for range calls {
			do(r, c)
		}
	})
	if err := h.Check(clients*calls*3/4, time.Minute); err != nil {
		t.Fatalf("%v", err)
	}
}

// anything makes one call of any kind on a few keys, several at once where the backend can.
func (t *T) anything(r *rand.Rand, c client) {
	key := func() []byte { return []byte{byte('a' + r.IntN(5))} }
	switch r.IntN(8) {
	case 0, 1:
		c.b.Get(t.ctx, key())
	case 2:
		c.b.GetMany(t.ctx, [][]byte{key(), key(), key()})
	case 3, 4:
		q := storage.Query{Start: key(), Limit: r.IntN(4), KeysOnly: r.IntN(3) == 0, Reverse: t.has(storage.CapReverse) && r.IntN(2) == 0}
		if r.IntN(2) == 0 {
			q.End = key()
		}
		c.b.Scan(t.ctx, q)
	default:
		w := &storage.WriteSet{}
		for range 1 + r.IntN(3) {
			switch r.IntN(5) {
			case 0:
				w.Ops = append(w.Ops, storage.Delete(key()))
			case 1:
				w.Ops = append(w.Ops, storage.DeleteRange(key(), key()))
			default:
				w.Ops = append(w.Ops, storage.Put(key(), c.value()))
			}
		}
		if !t.has(storage.CapAtomic) {
			w.Ops = w.Ops[:1]
		}
		if r.IntN(3) == 0 && t.has(storage.CapCheckOnly) {
			it, err := c.b.Get(t.ctx, key())
			check := storage.Present(key())
			if err == nil && it.Version != 0 {
				check = storage.HasVersion(key(), it.Version)
			}
			w.Checks = append(w.Checks, check)
		}
		c.b.Apply(t.ctx, w)
	}
}
