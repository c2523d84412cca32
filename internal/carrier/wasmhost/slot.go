package wasmhost

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// What callers of a busy instance are combined into, at most. A guest that takes
// less in one write set is not given more in one call: it has a buffer for that.
const (
	maxFrames = 64
	maxBytes  = 1 << 20
)

// slot is an instance and the queue of calls for it. The holder of the slot runs its own
// request and those that others have queued meanwhile, as frames of one call; then it
// hands the slot to the first that still waits. There is no goroutine of the slot's
// own.
type slot struct {
	// state is free, busy, or contended: busy, and the queue has to be looked at.
	// It leaves contended only under mu, so that taking and releasing a slot without a
	// queue is one atomic step each.
	state atomic.Uint32
	mu    sync.Mutex
	queue []*request
	down  atomic.Bool     // there is no instance: it was lost
	life  *supervise.Life // of the instance, and those in its place

	// What follows belongs to the holder of the slot.
	in     *instance // nil if lost or closed
	counts *counts   // nil if calls are not counted
	batch  []*request
	buf    []byte
}

const (
	free = iota
	busy
	contended
)

// request is one frame on its way. It is used again.
type request struct {
	frame []byte
	write bool // it may change something
	// done gets true with the answer in place, false with the slot in hand.
	done    chan bool
	code    storage.Code
	message []byte // owned by who asked
	err     error
	span    carrier.Span
	trace   []byte // its traceparent
}

var requests = sync.Pool{New: func() any { return &request{done: make(chan bool, 1)} }}

// free gives r back; its message stays with who asked.
func (r *request) free() {
	if cap(r.frame) > keptBuffer {
		r.frame = nil
	}
	r.span.End(r.err)
	r.message, r.err = nil, nil
	requests.Put(r)
}

// usable reports whether the slot has an instance, or may have another by now.
func (s *slot) usable() bool { return !s.down.Load() || s.life.Due() }

// try takes the slot if it is free.
func (s *slot) try() bool { return s.state.CompareAndSwap(free, busy) }

// release hands the slot to the first in the queue, or leaves it free.
func (s *slot) release() {
	if s.state.CompareAndSwap(busy, free) {
		return
	}
	s.mu.Lock()
	if len(s.queue) == 0 {
		s.state.Store(free)
		s.mu.Unlock()
		return
	}
	next := s.queue[0]
	s.queue = append(s.queue[:0], s.queue[1:]...)
	s.mu.Unlock()
	next.done <- false
}

// enqueue queues r for the holder of the slot, or takes the slot if it is free.
func (s *slot) enqueue(r *request) (held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.state.CompareAndSwap(busy, contended) && s.state.Load() != contended {
		if s.try() {
			return true
		}
	}
	s.queue = append(s.queue, r)
	return false
}

// take waits for the slot without a request. Only ctx ends it.
func (s *slot) take(ctx context.Context) error {
	r := requests.Get().(*request)
	defer r.free()
	r.frame = r.frame[:0]
	_, err := s.wait(ctx, r)
	return err
}

// wait queues r until another caller has done it, or this one holds the slot (held). A
// caller that leaves before its request was begun withdraws it; a caller whose request is
// being done stays for the outcome.
func (s *slot) wait(ctx context.Context, r *request) (held bool, err error) {
	if s.enqueue(r) {
		return true, nil
	}
	select {
	case done := <-r.done:
		return !done, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for i, q := range s.queue {
		if q == r {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			s.mu.Unlock()
			return false, storage.ContextError(ctx)
		}
	}
	s.mu.Unlock()
	if done := <-r.done; !done { // the slot came with the end of the wait
		s.release()
		return false, storage.ContextError(ctx)
	}
	return false, nil
}

// gather makes a batch of r and the queued requests, as far as the bounds allow. An empty
// frame is a caller that wants the slot itself.
func (s *slot) gather(r *request) []*request {
	s.batch = append(s.batch[:0], r)
	if s.state.Load() == busy {
		return s.batch
	}
	size, most := len(r.frame), maxBytes
	if s.in != nil {
		most = s.in.combine
	}
	s.mu.Lock()
	n := 0
	for _, q := range s.queue {
		if len(q.frame) == 0 || n+1 >= maxFrames || size+len(q.frame) > most {
			break
		}
		size += len(q.frame)
		n++
	}
	s.batch = append(s.batch, s.queue[:n]...)
	s.queue = append(s.queue[:0], s.queue[n:]...)
	s.mu.Unlock()
	return s.batch
}

// run does the batch, call by call, until every request has its answer. The error says
// why the instance is broken: every request without an answer has it.
func (s *slot) run(batch []*request) (broken error) {
	for todo := batch; len(todo) > 0 && broken == nil; {
		var n int
		var begun bool
		n, begun, broken = s.call(todo)
		if broken != nil {
			for _, r := range todo[n:] {
				r.err = lostInFlight(broken, r.write && begun)
			}
			n = len(todo)
		}
		todo = todo[n:]
	}
	return broken
}

// call sends all of todo and reads the answers of the first n. Requests that were not begun
// when the instance broke were certainly not done.
func (s *slot) call(todo []*request) (n int, begun bool, broken error) {
	in := s.in
	frames := todo[0].frame
	if len(todo) > 1 {
		s.buf = s.buf[:0]
		for i, r := range todo {
			renumber(r.frame, uint32(i))
			s.buf = append(s.buf, r.frame...)
		}
		frames = s.buf
	} else {
		renumber(frames, 0)
	}
	if err := in.put(frames); err != nil {
		return 0, false, err
	}
	in.stack[0] = uint64(len(frames))
	in.ctx.begins()
	in.ctx.batch = todo
	err := in.guarded(in.call, 1, len(todo))
	in.ctx.batch = nil
	if err != nil {
		return 0, true, in.trapped("plinth_call", len(todo), err)
	}
	rest, err := in.answer("plinth_call", in.stack[0])
	if err != nil {
		return 0, true, err
	}
	for ; len(rest) > 0; n++ {
		f, after, err := abi.ReadFrame(rest, in.m.opts.MaxFrame)
		switch {
		case err != nil:
			return n, true, in.garbage("answer %d is unreadable: %v", n, err)
		case n == len(todo):
			return n, true, in.garbage("more answers than the %d requests", n)
		case f.ID != uint32(n):
			return n, true, in.garbage("answer %d has the id %d", n, f.ID)
		}
		todo[n].answered(f)
		rest = after
	}
	if n == 0 {
		return 0, true, in.garbage("no answer")
	}
	return n, true, nil
}

// answered takes the answer over from the guest's memory.
func (r *request) answered(f abi.Frame) {
	r.code, r.err = storage.Code(f.Kind), nil
	if r.code != storage.OK {
		e := f.Err() // its texts are copies
		e.Unknown = e.Unknown && r.write || e.Code == storage.OutcomeUnknown
		r.err = e
		return
	}
	r.message = copied(f.Message)
}

// renumber gives a frame another id: a batch counts from 0.
func renumber(frame []byte, id uint32) {
	frame[4], frame[5], frame[6], frame[7] = byte(id), byte(id>>8), byte(id>>16), byte(id>>24)
}

// lostInFlight returns the error of a request that was with the guest when it broke.
func lostInFlight(broken error, write bool) error {
	e := *storage.AsError(broken)
	e.Code, e.Unknown = storage.Unavailable, false
	if write {
		e.Code, e.Unknown = storage.OutcomeUnknown, true
	}
	return &e
}
