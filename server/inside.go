package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/storage"
)

// inside is a request that was let in: its place among those that run, and what it
// holds of the memory that all share.
type inside struct {
	s       *Server
	account *budget.Account
	runs    bool
}

// The memory of a request in addition to its body and answer, and the part of a body that is
// read at once.
const (
	requestBytes = 16 << 10
	bodyPart     = 64 << 10
)

// connKey finds the connection in the context of its requests.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// clientOf returns whom a request's memory is counted for: the name in its certificate,
// else its connection.
func clientOf(r *http.Request) any {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return budget.Identity(r.TLS.PeerCertificates[0])
	}
	if c := r.Context().Value(connKey{}); c != nil {
		return c
	}
	return r.RemoteAddr
}

// enter lets a request in, or says that there are too many.
func (s *Server) enter(r *http.Request) (*inside, error) {
	in := &inside{s: s, account: s.settings.Memory.Open(clientOf(r))}
	if err := in.account.Take(r.Context(), requestBytes); err != nil {
		in.leave()
		return nil, err
	}
	select {
	case s.slots <- struct{}{}:
		in.runs = true
		return in, nil
	default:
		in.leave()
		return nil, s.tooMany()
	}
}

func (s *Server) tooMany() error {
	e := storage.Errorf(storage.Unavailable, "too many requests at once, the limit is %d", s.config.MaxConcurrent)
	e.RetryAfter = time.Second
	return e
}

// rest gives the place among those that run to others while a caller sends its body.
func (in *inside) rest() {
	<-in.s.slots
	in.runs = false
}

// backAfter limits how long a complete request waits for a place.
const backAfter = 2 * time.Second

// goOn takes the place back.
func (in *inside) goOn(ctx context.Context) error {
	timer := time.NewTimer(backAfter)
	defer timer.Stop()
	select {
	case in.s.slots <- struct{}{}:
		in.runs = true
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	case <-timer.C:
		return in.s.tooMany()
	}
}

func (in *inside) leave() {
	if in.runs {
		in.rest()
	}
	in.account.Close()
}

// readBody reads a body of at most so many bytes, which count as they arrive. One that
// says beforehand that it is larger is refused before it is sent.
func (c *call) readBody(most int64) ([]byte, error) {
	if share := c.server.settings.Memory.Share(); share > 0 {
		most = min(most, share/4) // what is made of it has to fit as well
	}
	if c.r.ContentLength > most {
		return nil, storage.LimitError(storage.SizeLimit, "body", most, c.r.ContentLength)
	}
	if c.r.ContentLength == 0 {
		return []byte{}, nil
	}
	c.in.rest()
	b, err := c.receive(most)
	if again := c.in.goOn(c.r.Context()); again != nil && err == nil {
		err = again
	}
	return b, err
}

// receive reads a body in parts, each of which has to arrive soon.
func (c *call) receive(most int64) ([]byte, error) {
	control := http.NewResponseController(c.w)
	// Not every test's writer has deadlines.
	c.in.account.Arrive(func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	end := time.Now().Add(c.server.config.BodyTimeout)
	body := http.MaxBytesReader(c.w, c.r.Body, most)
	var b []byte
	for {
		if len(b) == cap(b) {
			more := int64(max(len(b), bodyPart))
			if left := c.r.ContentLength - int64(len(b)); c.r.ContentLength >= 0 {
				more = min(more, left+1) // one for the end
			}
			if err := c.in.account.Take(c.r.Context(), more); err != nil {
				_ = c.in.account.Arrived()
				return nil, err
			}
			b = append(make([]byte, 0, len(b)+int(more)), b...)
		}
		soon := time.Now().Add(c.server.config.PartTimeout)
		if soon.After(end) {
			soon = end
		}
		c.in.account.Reading(func() { _ = control.SetReadDeadline(soon) })
		n, err := body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == nil {
			continue
		}
		if slow := c.in.account.Arrived(); slow != nil {
			return nil, slow
		}
		if err != io.EOF {
			return nil, bodyError(err) // the deadline stays: net/http reads what is left before it closes
		}
		_ = control.SetReadDeadline(time.Time{})
		return b, nil
	}
}

// fetch reads at most so many items, with room for as much as they may take.
func (c *call) fetch(items int, read func() (n int64, err error), drop func()) error {
	return budget.Fetch(c.r.Context(), c.in.account, c.guess(), items, read, drop)
}

// guess returns the estimate of the store's item sizes.
func (c *call) guess() *budget.Guess { return c.server.now().guesses[c.store] }
