//go:build unix

package frames

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// What waits for a worker, at most: more is not read, so that the other side has to
// wait. It is as many requests as a [Client] has under way, so that one that ends a
// call is read although all workers are busy, and one of them with that call.
const (
	mostQueued      = 1024
	mostQueuedBytes = 16 << 20 // but for one alone
)

// pool holds the requests that wait for a worker, and those that are with one.
type pool struct {
	mu         sync.Mutex
	some, room sync.Cond // of those who wait for a job, and of the reader
	first      *job
	last       *job
	queued     int
	bytes      int
	idle       int
	over       bool
	cancels    map[uint32]context.CancelFunc // of all calls here, by id

	busy atomic.Int32
	free sync.Pool
}

// job is a request with memory of its own.
type job struct {
	frame  abi.Frame
	unread error
	copy   []byte
	budget int
	ctx    context.Context // from when it came
	end    context.CancelFunc
	next   *job
}

var errOver = errors.New("connection closed")

func (p *pool) init() {
	p.some.L, p.room.L = &p.mu, &p.mu
	p.cancels = map[uint32]context.CancelFunc{}
	p.free.New = func() any { return new(job) }
}

// take copies f.
func (j *job) take(f abi.Frame, unread error) {
	if cap(j.copy) > keptBuffer {
		j.copy = nil
	}
	j.copy = append(append(j.copy[:0], f.Header...), f.Message...)
	j.frame, j.unread = f, unread
	n := len(f.Header)
	j.frame.Header, j.frame.Message = j.copy[:n:n], j.copy[n:len(j.copy):len(j.copy)]
}

// add queues j, which may take so long, or indefinitely if left is zero. more reports
// that no worker is free for it.
func (p *pool) add(j *job, left time.Duration) (more bool, err error) {
	if left > 0 {
		j.ctx, j.end = context.WithTimeout(context.Background(), left)
	} else {
		j.ctx, j.end = context.WithCancel(context.Background())
	}
	p.busy.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.over && (p.queued >= mostQueued || p.queued > 0 && p.bytes+len(j.copy) > mostQueuedBytes) {
		p.room.Wait()
	}
	if p.over {
		j.end()
		return false, errOver
	}
	p.cancels[j.frame.ID] = j.end
	if j.next = nil; p.last != nil {
		p.last.next = j
	} else {
		p.first = j
	}
	p.last = j
	p.queued++
	p.bytes += len(j.copy)
	p.some.Signal()
	return p.queued > p.idle, nil
}

// next returns the job that has waited longest, or nil after the end.
func (p *pool) next() *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.first == nil && !p.over {
		p.idle++
		p.some.Wait()
		p.idle--
	}
	if p.over {
		return nil
	}
	j := p.first
	if p.first = j.next; p.first == nil {
		p.last = nil
	}
	p.queued--
	p.bytes -= len(j.copy)
	p.room.Signal()
	return j
}

// done forgets a job.
func (p *pool) done(j *job) {
	p.mu.Lock()
	delete(p.cancels, j.frame.ID)
	p.mu.Unlock()
	j.end()
	j.ctx, j.end, j.unread = nil, nil, nil
	p.free.Put(j)
	p.busy.Add(-1)
}

// cancel ends a call, under way or waiting.
func (p *pool) cancel(id uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cancel := p.cancels[id]; cancel != nil {
		cancel()
	}
}

// close ends all calls. Those that wait are not begun.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, cancel := range p.cancels {
		cancel()
	}
	p.some.Broadcast()
	p.room.Broadcast()
}

// workers answers with several goroutines, each of which is started when all
// before it are busy. Answers go out as they come.
func (s *Server) workers() error {
	s.pool.init()
	var running sync.WaitGroup
	failed := make(chan error, 1)
	s.start(s.conn, time.Minute, func() bool { return s.pool.busy.Load() > 1 }, func(err error) {
		s.mu.Lock()
		if s.err == nil {
			s.err = err
		}
		s.roomier()
		s.mu.Unlock()
		select {
		case failed <- err:
		default:
		}
		_ = s.conn.Close() // so that the reader ends
		s.pool.close()
	})
	work := func() {
		a := s.config.New()
		var out []byte
		for j := s.pool.next(); j != nil; j = s.pool.next() {
			out = j.answer(a, out[:0])
			s.pool.done(j)
			s.post(out)
			if cap(out) > keptBuffer {
				out = nil
			}
		}
	}
	started := 0
	err := s.requests(func(f abi.Frame, unread error) error {
		j := s.pool.free.Get().(*job)
		j.take(f, unread)
		left := time.Duration(0)
		if unread == nil {
			j.budget, left = s.told(&j.frame)
		}
		more, err := s.pool.add(j, left)
		if more && started < s.config.Workers {
			started++
			running.Go(work)
		}
		return err
	}, func() error { return nil })
	s.pool.close()
	running.Wait()
	s.stop()
	select {
	case err = <-failed:
	default:
	}
	return err
}

// answer appends the answer to the request. One that has ended while it waited is
// not begun.
func (j *job) answer(a Answerer, dst []byte) []byte {
	switch {
	case j.unread != nil:
		return a.Refuse(dst, j.frame.ID, j.unread)
	case j.ctx.Err() != nil:
		return a.Refuse(dst, j.frame.ID, storage.ContextError(j.ctx))
	}
	return a.Answer(j.ctx, dst, j.frame, j.budget)
}

// post has an answer sent, and waits while the other side does not take what was
// sent before.
func (s *Server) post(answer []byte) {
	s.mu.Lock()
	for s.err == nil && !s.takes(len(answer)) {
		room := s.wait()
		s.mu.Unlock()
		<-room
		s.mu.Lock()
	}
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.pending = append(s.pending, answer...)
	s.flush()
}
