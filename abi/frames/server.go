//go:build unix

package frames

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/abi"
)

// Answerer answers requests, one at a time.
type Answerer interface {
	// Answer appends the answer to f, a frame of at most budget bytes with f's id,
	// to dst. The call is over when ctx is.
	Answer(ctx context.Context, dst []byte, f abi.Frame, budget int) []byte
	// Refuse appends the answer to request id that it failed.
	Refuse(dst []byte, id uint32, err error) []byte
}

// ServerConfig is how a [Server] answers.
type ServerConfig struct {
	// New makes an answerer, one for each goroutine that answers.
	New func() Answerer
	// Workers are how many requests may be answered at once. 0: they are answered
	// by the goroutine that reads them, one after the other, which is fastest for
	// a backend that never waits; then a call's context has no end.
	Workers int
	// MaxFrame is the largest request taken and answer given, in bytes; 0: 64 MiB.
	MaxFrame int
	// Told hears the host's clock, in ms, before each request that names it is
	// answered; nil: nobody does.
	Told func(now int64)
}

// Server answers what comes over one connection.
type Server struct {
	config ServerConfig
	conn   *Conn
	last   int // requests of the latest read
	buf    []byte
	outbox
	busy atomic.Int32

	running sync.Mutex
	cancels map[uint32]context.CancelFunc // of the calls under way, by id; nil: they cannot be ended
}

// Serve answers over conn until it ends, and closes it. Nil: the other side has
// closed it.
func Serve(conn *Conn, c ServerConfig) error {
	if c.MaxFrame == 0 {
		c.MaxFrame = abi.DefaultMaxFrame
	}
	s := &Server{config: c, conn: conn, buf: make([]byte, 64<<10)}
	defer conn.Close()
	conn.alone = func() bool { return s.last <= 1 }
	var err error
	if c.Workers > 0 {
		err = s.workers()
	} else {
		err = s.inline()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// requests reads, and has each request that has come whole handled, in order. The
// frame is a view. after is called when all of what has come was handled.
func (s *Server) requests(handle func(f abi.Frame, err error) error, after func() error) error {
	begin, end := 0, 0
	for {
		if begin == end {
			if begin, end = 0, 0; cap(s.buf) > keptBuffer {
				s.buf = make([]byte, 64<<10)
			}
		} else if len(s.buf)-end < 4<<10 {
			if begin > 0 {
				end = copy(s.buf, s.buf[begin:end])
				begin = 0
			} else {
				s.buf = append(s.buf, make([]byte, len(s.buf))...)
			}
		}
		n, err := s.conn.fill(s.buf[end:])
		if err != nil {
			return err
		}
		end += n
		s.last = 0
		rest := s.buf[begin:end]
		for len(rest) >= 4 && abi.FrameSize(rest) <= uint64(len(rest)) || tooLong(rest, s.config.MaxFrame) {
			f, after, err := abi.ReadFrame(rest, s.config.MaxFrame)
			if err != nil && len(after) == len(rest) { // there is no going on
				return err
			}
			if err == nil && abi.Op(f.Kind) == abi.OpCancel {
				s.cancel(f.ID)
			} else if err := handle(f, err); err != nil {
				return err
			}
			s.last++
			rest = after
		}
		begin = end - len(rest)
		if err := after(); err != nil {
			return err
		}
	}
}

// answer appends the answer to f, or that it cannot be read.
func (s *Server) answer(a Answerer, dst []byte, f abi.Frame, unread error) []byte {
	if unread != nil {
		return a.Refuse(dst, f.ID, unread)
	}
	budget := s.config.MaxFrame
	var h abi.Header
	if h.Decode(f.Header) == nil { // else the answer says what is wrong with it
		if h.Now > 0 && s.config.Told != nil {
			s.config.Told(h.Now)
		}
		if h.Budget > 0 {
			budget = min(budget, int(h.Budget))
		}
	}
	if s.cancels == nil {
		return a.Answer(context.Background(), dst, f, budget)
	}
	ctx, end := s.begin(f.ID, &h)
	defer end()
	return a.Answer(ctx, dst, f, budget)
}

// begin is the context of a call that can be ended.
func (s *Server) begin(id uint32, h *abi.Header) (context.Context, func()) {
	var ctx context.Context
	var cancel context.CancelFunc
	if h.Deadline > 0 {
		ctx, cancel = context.WithTimeout(context.Background(), time.Duration(min(h.Deadline, maxDeadline))*time.Millisecond)
	} else {
		ctx, cancel = context.WithCancel(context.Background())
	}
	s.running.Lock()
	s.cancels[id] = cancel
	s.running.Unlock()
	return ctx, func() {
		s.running.Lock()
		delete(s.cancels, id)
		s.running.Unlock()
		cancel()
	}
}

// maxDeadline is what counts as for ever, in ms.
const maxDeadline = int64(365 * 24 * time.Hour / time.Millisecond)

// cancel ends a call that is under way. One that still waits for a worker is
// answered as if nobody had left.
func (s *Server) cancel(id uint32) {
	s.running.Lock()
	defer s.running.Unlock()
	if cancel := s.cancels[id]; cancel != nil {
		cancel()
	}
}

// mostAnswers is how many bytes of answers are collected before they are sent.
const mostAnswers = 256 << 10

// inline answers all that one read brought with one write.
func (s *Server) inline() error {
	a := s.config.New()
	var out []byte
	send := func() error {
		if len(out) == 0 {
			return nil
		}
		n, err := s.conn.offer(out)
		if err == nil && n < len(out) {
			_, err = s.conn.unix.Write(out[n:])
		}
		if out = out[:0]; cap(out) > keptBuffer {
			out = nil
		}
		return err
	}
	return s.requests(func(f abi.Frame, unread error) error {
		out = s.answer(a, out, f, unread)
		if len(out) < mostAnswers {
			return nil
		}
		return send()
	}, send)
}

// job is a request that waits for a worker, with memory of its own.
type job struct {
	frame  abi.Frame
	unread error
	copy   []byte
}

// workers answers with several goroutines, each of which is started when all
// before it are busy. Answers go out as they come. When all are busy nothing more
// is read, so that the other side has to wait.
func (s *Server) workers() error {
	jobs := make(chan *job)
	s.cancels = map[uint32]context.CancelFunc{}
	var running sync.WaitGroup
	pool := sync.Pool{New: func() any { return new(job) }}
	failed := make(chan error, 1)
	s.start(s.conn, time.Minute, func() bool { return s.busy.Load() > 1 }, func(err error) {
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
	})
	work := func(j *job) {
		a := s.config.New()
		var out []byte
		for ok := true; ok; j, ok = <-jobs {
			out = s.answer(a, out[:0], j.frame, j.unread)
			pool.Put(j)
			s.busy.Add(-1)
			s.post(out)
			if cap(out) > keptBuffer {
				out = nil
			}
		}
	}
	started := 0
	err := s.requests(func(f abi.Frame, unread error) error {
		j := pool.Get().(*job)
		j.take(f, unread)
		s.busy.Add(1)
		select {
		case jobs <- j:
			return nil
		default:
		}
		if started < s.config.Workers {
			started++
			running.Go(func() { work(j) })
			return nil
		}
		jobs <- j
		return nil
	}, func() error { return nil })
	close(jobs)
	running.Wait()
	s.stop()
	select {
	case err = <-failed:
	default:
	}
	return err
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
