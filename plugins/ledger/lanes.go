package ledger

import (
	"context"
	"strconv"
	"sync"
)

// maxLanes limits how many writes are on their way at once.
const maxLanes = 256

// lanes holds names of clients, each of which has one write on its way at a time. A new
// leader remembers of each client the last write only: that one has to be the one that is
// repeated.
type lanes struct {
	prefix string
	turns  chan struct{}

	mu   sync.Mutex
	free []string // the one that was used last at the end
	made int
}

func newLanes(prefix string) *lanes {
	return &lanes{prefix: prefix, turns: make(chan struct{}, maxLanes)}
}

// take waits for a lane, or for the end of ctx.
func (l *lanes) take(ctx context.Context) (name string, err error) {
	select {
	case l.turns <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		name, l.free = l.free[n-1], l.free[:n-1]
		return name, nil
	}
	l.made++
	return l.prefix + "/" + strconv.Itoa(l.made), nil
}

// give gives a lane back. One whose write may still come is not used again.
func (l *lanes) give(name string, settled bool) {
	if settled {
		l.mu.Lock()
		l.free = append(l.free, name)
		l.mu.Unlock()
	}
	<-l.turns
}
