//go:build unix

package frames

import (
	"context"
	"errors"
	"io"
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

// ServerConfig configures a [Server].
type ServerConfig struct {
	// New makes an answerer, one for each goroutine that answers.
	New func() Answerer
	// Workers limits how many requests are answered at once. If zero, the goroutine that reads
	// them answers them one after the other, which is fastest for a backend that never waits;
	// then a call's context has no end.
	Workers int
	// MaxFrame bounds requests and answers, in bytes; by default 64 MiB.
	MaxFrame int
	// Told receives the host's clock, in ms, before a request that has it in its header is
	// answered. It is optional.
	Told func(now int64)
}

// Server answers the requests of one connection.
type Server struct {
	config ServerConfig
	conn   *Conn
	last   int // requests of the latest read
	buf    []byte
	outbox
	pool pool // of workers, if there are any
}

// Serve answers requests over conn until it ends, and closes it. It returns nil if the
// other side has closed it.
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

// requests reads, and calls handle for each complete request, in order. The frame is a
// view. after is called when all complete requests have been handled.
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
				s.pool.cancel(f.ID)
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

// told reads the header of a request: how large its answer may be, and how long it may
// take, or 0 for no limit. An invalid header is reported by the answer.
func (s *Server) told(f *abi.Frame) (budget int, left time.Duration) {
	budget = s.config.MaxFrame
	var h abi.Header
	if h.Decode(f.Header) != nil {
		return budget, 0
	}
	if h.Now > 0 && s.config.Told != nil {
		s.config.Told(h.Now)
	}
	if h.Budget > 0 {
		budget = min(budget, int(h.Budget))
	}
	return budget, time.Duration(min(h.Deadline, maxDeadline)) * time.Millisecond
}

// maxDeadline counts as no deadline, in ms.
const maxDeadline = int64(365 * 24 * time.Hour / time.Millisecond)

// mostAnswers limits how many bytes of answers are collected before they are sent.
const mostAnswers = 256 << 10

// inline answers all requests of one read with one write.
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
		if unread != nil {
			out = a.Refuse(out, f.ID, unread)
		} else {
			budget, _ := s.told(&f)
			out = a.Answer(context.Background(), out, f, budget)
		}
		if len(out) < mostAnswers {
			return nil
		}
		return send()
	}, send)
}
