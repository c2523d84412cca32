package pebble

import (
	"context"
	"sync"

	"github.com/plinthkv/plinth/storage"
)

// request is a write set that waits for a sync, or a piece of work that is to be done
// between them.
type request struct {
	writes *storage.WriteSet // nil means work
	digest [16]byte          // of writes with an ID
	work   func(*group) error

	done    chan bool // true if it has its answer, false if it leads now
	version uint64
	err     error
}

// queue holds the waiting writers. A writer that finds none becomes the leader: it does its
// own write and those that have come meanwhile as one group, then hands the lead to the
// next.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	led     bool
	why     error // why no more are taken, or nil if they are
	over    chan struct{}
}

// A group has at most so many write sets, and so many bytes of keys and values.
const (
	mostGroup = 1024
	groupSize = 16 << 20
)

// enter joins the queue; lead: the caller is to lead.
func (q *queue) enter(r *request) (lead bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.why != nil {
		return false, q.why
	}
	if q.led {
		q.waiting = append(q.waiting, r)
		return false, nil
	}
	q.led = true
	return true, nil
}

// leave removes a request, or returns false if it is being done.
func (q *queue) leave(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting {
		if w == r {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// gather returns the leader's own request and those that wait, as far as they fit.
func (q *queue) gather(own *request, into []*request) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	into = append(into, own)
	size, n := own.size(), 0
	for _, r := range q.waiting {
		if n+1 >= mostGroup || size+r.size() > groupSize {
			break
		}
		size += r.size()
		n++
	}
	into = append(into, q.waiting[:n]...)
	q.waiting = append(q.waiting[:0], q.waiting[n:]...)
	return into
}

func (r *request) size() (n int) {
	if r.writes != nil {
		for i := range r.writes.Ops {
			n += len(r.writes.Ops[i].Key) + len(r.writes.Ops[i].Value)
		}
	}
	return n
}

// pass hands the lead to the next, or leaves it free.
func (q *queue) pass() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.led = false
		if q.over != nil {
			close(q.over)
			q.over = nil
		}
		return
	}
	next := q.waiting[0]
	q.waiting = append(q.waiting[:0], q.waiting[1:]...)
	next.done <- false
}

// breaks has no more requests be taken, and refuses those that wait: nothing of theirs was
// begun.
func (q *queue) breaks(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.why = why
	for _, r := range q.waiting {
		r.err = why
		r.done <- true
	}
	q.waiting = nil
}

// broken reports whether the engine has failed.
func (q *queue) broken() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.why != nil && storage.CodeOf(q.why) != storage.ShuttingDown
}

// shut has no more requests be taken, and waits for those that were.
func (q *queue) shut(ctx context.Context) error {
	q.mu.Lock()
	before := q.why
	if q.why == nil {
		q.why = errClosed()
	}
	if !q.led {
		q.mu.Unlock()
		return nil
	}
	over := make(chan struct{})
	q.over = over
	q.mu.Unlock()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		q.mu.Lock()
		q.why, q.over = before, nil
		q.mu.Unlock()
		return storage.ContextError(ctx)
	}
}
