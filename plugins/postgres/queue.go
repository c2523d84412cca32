package postgres

import (
	"context"
	"math"
	"sync"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// request is a write set that waits for a transaction.
type request struct {
	writes *storage.WriteSet // its ops normalized
	puts   bool              // it has no checks, and puts alone
	ranges bool              // it has range checks or range deletes
	lives  int64             // when the last of its puts expires, also of those that its later ops undo
	digest [16]byte          // of writes with an ID
	size   int               // bytes of keys and values

	begun, left bool // whether it is in a group, and whether its caller left before; the queue's

	done    chan struct{} // closed once it has its answer
	version uint64
	err     error
}

func (r *request) identified() bool { return r.writes.ID != [16]byte{} }

// answer ends a request.
func (r *request) answer(version uint64, err error) {
	r.version, r.err = version, err
	close(r.done)
}

// queue holds the writers that wait for a transaction. One group at a time is done: another
// host's waits for the same lock, and so would ours.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	running bool
}

// A group has at most so many write sets, and so many bytes of keys and values. More than
// mostWaiting write sets do not wait.
const (
	mostGroup   = 1024
	groupSize   = 16 << 20
	mostWaiting = 1 << 16
)

// enter joins the queue. run reports that the caller must do its work, because no other does.
func (q *queue) enter(r *request) (run bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= mostWaiting {
		return false, storage.LimitError(storage.RateLimited, "write sets that wait", mostWaiting, mostWaiting+1)
	}
	q.waiting = append(q.waiting, r)
	run = !q.running
	q.running = true
	return run, nil
}

// leave withdraws a request. It returns false if the request is being done already.
func (q *queue) leave(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.begun {
		return false
	}
	r.left = true // the next group passes it over: to look for it here would be the product of those who wait and leave
	return true
}

// next returns the next group. It is empty if there is none, and the caller is done.
func (q *queue) next() (group []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size, n := 0, 0
	for _, r := range q.waiting {
		if len(group) == mostGroup || len(group) > 0 && size+r.size > groupSize {
			break
		}
		n++
		if !r.left {
			size += r.size
			r.begun = true
			group = append(group, r)
		}
	}
	q.waiting = append(q.waiting[:0], q.waiting[n:]...)
	clear(q.waiting[len(q.waiting):cap(q.waiting)])
	q.running = len(group) > 0
	return group
}

// Apply does all of w or nothing: see [storage.Backend]. Should ctx end once the write has
// begun, its outcome may be unknown.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	info := b.info.Load()
	if err := ctx.Err(); err != nil {
		return 0, storage.ContextError(ctx)
	}
	r, err := newRequest(w, info)
	if err != nil {
		return 0, err
	}
	if !b.gate.enter() {
		return 0, errClosed()
	}
	run, err := b.queue.enter(r)
	if err != nil {
		b.gate.leave()
		return 0, err
	}
	if run {
		b.lead(ctx)
	} else {
		defer b.gate.leave()
	}
	select {
	case <-r.done:
		return r.version, r.err
	case <-ctx.Done():
		if b.queue.leave(r) {
			return 0, storage.ContextError(ctx)
		}
	}
	select {
	case <-r.done: // at the same time
		return r.version, r.err
	default:
		return 0, unknown(ctx.Err())
	}
}

// lead does the caller's own write set, as long as its ctx allows. Where others have come, for
// whom that says nothing, a goroutine does the work: handing it over takes longer than it saves,
// else. The gate is left when all is done.
func (b *Backend) lead(ctx context.Context) {
	group := b.queue.next()
	if len(group) == 1 {
		b.work(ctx, group)
		if group = b.queue.next(); group == nil {
			b.gate.leave()
			return
		}
	}
	go b.run(group)
}

// run does a group, and further ones until the queue is empty.
func (b *Backend) run(group []*request) {
	defer b.gate.leave()
	for ; group != nil; group = b.queue.next() {
		b.work(context.Background(), group)
	}
}

// normal returns a write set in whose ops no key is twice.
func normal(w *storage.WriteSet, info *storage.Info) (*storage.WriteSet, error) {
	if len(w.Ops) > 1 {
		return storage.Normalize(w, info)
	}
	if err := w.Validate(info); err != nil {
		return nil, err
	}
	n := *w.Cut(info.Limits)
	return &n, nil
}

// newRequest checks a write set, and owns what it needs of it: the caller may leave before it
// is done.
func newRequest(w *storage.WriteSet, info *storage.Info) (*request, error) {
	n, err := normal(w, info)
	if err != nil {
		return nil, err
	}
	r := &request{writes: n, puts: len(n.Checks) == 0, done: make(chan struct{})}
	if w.ID != [16]byte{} {
		r.digest = durable.Digest(w)
	}
	for i := range w.Ops {
		if o := &w.Ops[i]; o.Kind == storage.OpPut {
			if at := durable.Millis(o.ExpiresAt); at == 0 {
				r.lives = math.MaxInt64
			} else {
				r.lives = max(r.lives, at)
			}
		}
	}
	r.own()
	return r, nil
}
