//go:build unix

package procs

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/plinthkv/plinth/storage"
)

// inFlight counts calls, and ends the count.
type inFlight struct {
	n       atomic.Int64
	once    sync.Once
	drained chan struct{}
}

// over is the bit of n that says that no more may begin.
const over = math.MinInt64

func (f *inFlight) init() { f.drained = make(chan struct{}) }

// begin counts a call; false: no more are taken.
func (f *inFlight) begin() bool {
	if f.n.Add(1) > 0 {
		return true
	}
	f.done()
	return false
}

func (f *inFlight) done() {
	if f.n.Add(-1) == over {
		f.once.Do(func() { close(f.drained) })
	}
}

// end has no more calls begin.
func (f *inFlight) end() {
	f.n.Or(over)
	f.n.Add(1)
	f.done() // the last, if there is no call
}

// wait waits for the last call to end.
func (f *inFlight) wait(ctx context.Context) error {
	select {
	case <-f.drained:
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
}
