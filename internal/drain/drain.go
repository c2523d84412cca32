// Package drain is a gate for calls: it counts calls in flight, admits no more once it is
// shut, and reports when the last has ended.
package drain

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/plinthkv/plinth/storage"
)

// Gate counts calls until it is shut. It is safe for concurrent use. The zero value is
// invalid.
type Gate struct {
	n     atomic.Int64 // of calls, and the bit shut
	once  sync.Once
	empty chan struct{}
	open  context.Context // ends when the gate is shut
	end   context.CancelFunc
}

// shut marks, in n, that no more may enter.
const shut = math.MinInt64

// New returns an open gate.
func New() *Gate {
	g := &Gate{empty: make(chan struct{})}
	g.open, g.end = context.WithCancel(context.Background())
	return g
}

// Enter counts a call, which must Leave, and returns true; it returns false if the gate
// is shut.
func (g *Gate) Enter() bool {
	if g.n.Add(1) > 0 {
		return true
	}
	g.Leave()
	return false
}

// Leave marks the end of a call.
func (g *Gate) Leave() {
	if g.n.Add(-1) == shut {
		g.once.Do(func() { close(g.empty) })
	}
}

// Shut refuses further calls. It is idempotent.
func (g *Gate) Shut() {
	g.n.Or(shut)
	g.end()
	g.n.Add(1)
	g.Leave() // the last, if there is no call
}

// Within returns a context that ends with ctx, or when the gate is shut: for a call that
// waits for something which may never happen. done releases it. It has no goroutine.
func (g *Gate) Within(ctx context.Context) (_ context.Context, done func()) {
	own, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(g.open, cancel)
	return own, func() { stop(); cancel() }
}

// IsShut reports whether further calls are refused.
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
