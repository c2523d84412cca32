// Package drain is a gate for calls: it counts those that are under way, takes no more
// once it is shut, and tells when the last has ended.
package drain

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/plinthkv/plinth/storage"
)

// Gate is open until it is shut. It is safe for concurrent use. The zero value is of no
// use.
type Gate struct {
	n     atomic.Int64 // of calls, and the bit shut
	once  sync.Once
	empty chan struct{}
}

// shut is the bit of n that says that no more may enter.
const shut = math.MinInt64

// New is an open gate.
func New() *Gate { return &Gate{empty: make(chan struct{})} }

// Enter counts a call, which is to Leave; false: the gate is shut.
func (g *Gate) Enter() bool {
	if g.n.Add(1) > 0 {
		return true
	}
	g.Leave()
	return false
}

// Leave says that a call has ended.
func (g *Gate) Leave() {
	if g.n.Add(-1) == shut {
		g.once.Do(func() { close(g.empty) })
	}
}

// Shut has no more calls enter. It is idempotent.
func (g *Gate) Shut() {
	g.n.Or(shut)
	g.n.Add(1)
	g.Leave() // the last, if there is no call
}

// IsShut reports whether no more calls enter.
func (g *Gate) IsShut() bool { return g.n.Load() < 0 }

// Wait waits for the last call to leave a gate that is shut.
func (g *Gate) Wait(ctx context.Context) error {
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
}
