//go:build unix

package frames

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// ClientConfig configures a [Client]. Zero fields have the defaults named here.
type ClientConfig struct {
	MaxFrame int           // the largest answer accepted, in bytes; by default 64 MiB
	Calls    int           // the most calls in flight, abandoned ones included; more wait. By default 1024, at most 65536
	Patience time.Duration // the longest wait for the peer to read something; by default 10 s, if negative indefinite
	Cancels  bool          // whether abandoned calls are cancelled at the peer
	// Ended receives the reason, once, when the connection has become unusable. It must not
	// wait for calls. It is optional.
	Ended func(error)
}

// Client sends calls and receives their answers. It is safe for concurrent use. The
// package's documentation says which goroutine reads.
type Client struct {
	config ClientConfig
	conn   *Conn
	outbox // its mu guards all up to the reader's part

	slots     []slot
	free      []uint16 // indexes of slots
	waiting   list
	reading   bool            // there is a reader
	readerCtx context.Context // of the reading caller; nil while none reads
	woken     bool            // the reader was woken, to stop reading
	inFlight  atomic.Int32    // slots in use
	answers   atomic.Uint64

	relay chan struct{} // of one: makes the relay the reader
	ended sync.Once

	// What follows is the reader's.
	buf        []byte
	begin, end int
	arrived    []arrival
	watch      func() bool // stops the wait for the reader's context
	interrupt  func()
}

// slot holds the call whose id has the slot's index in its low half. The high half
// changes with each use, so that a late or second answer is recognized.
type slot struct {
	call *Call // nil if free, or abandoned by its caller
	id   uint32
	used bool
}

// arrival is an answer that is ready to be handed to its caller.
type arrival struct {
	call  *Call
	frame abi.Frame
}

// NewClient returns a client of conn, which the client's Close closes.
func NewClient(conn *Conn, c ClientConfig) *Client {
	if c.MaxFrame == 0 {
		c.MaxFrame = abi.DefaultMaxFrame
	}
	if c.Calls == 0 {
		c.Calls = 1024
	}
	c.Calls = min(c.Calls, 1<<16)
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
	cl := &Client{config: c, conn: conn, buf: make([]byte, 64<<10), slots: make([]slot, c.Calls), free: make([]uint16, c.Calls), relay: make(chan struct{}, 1)}
	for i := range cl.slots {
		cl.slots[i].id, cl.free[i] = uint32(i), uint16(c.Calls-1-i)
	}
	cl.interrupt = cl.wakeReader
	conn.alone = func() bool { return cl.inFlight.Load() <= 1 }
	conn.beforeSleep = cl.beforeSleep
	cl.start(conn, c.Patience, func() bool { return cl.inFlight.Load() > 1 }, cl.fail)
	cl.done.Go(cl.relayLoop)
	return cl
}

// Close closes the connection; calls in flight fail. It is idempotent, and returns when
// the client's goroutines have ended.
func (c *Client) Close() {
	c.fail(lost("the connection was closed", nil))
	c.done.Wait()
}

// lost returns an error of the connection.
func lost(text string, cause error) *storage.Error {
	if cause != nil {
		text = fmt.Sprintf("%s: %v", text, cause)
	}
	return &storage.Error{Code: storage.Unavailable, Msg: text, Err: cause}
}

// InFlight returns the number of unanswered calls, abandoned ones included.
func (c *Client) InFlight() int { return int(c.inFlight.Load()) }

// Answers returns the number of answers received so far.
func (c *Client) Answers() uint64 { return c.answers.Load() }

// Do sends the call and waits for its answer. If it fails, sent reports whether the peer
// may have received the whole request; if false, it certainly has not. When ctx ends, Do
// returns and leaves the connection usable. The request stays in call, for another client.
func (c *Client) Do(ctx context.Context, call *Call) (sent bool, err error) {
	if call.Frame, err = abi.EndFrame(call.Frame, 0); err != nil {
		return false, err
	}
	if len(call.Frame) > c.config.MaxFrame {
		return false, storage.LimitError(storage.SizeLimit, "request frame", int64(c.config.MaxFrame), int64(len(call.Frame)))
	}
	if ctx.Err() != nil {
		return false, storage.ContextError(ctx)
	}
	c.mu.Lock()
	for c.err == nil && (len(c.free) == 0 || !c.takes(len(call.Frame))) {
		room := c.wait()
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return false, storage.ContextError(ctx)
		}
		c.mu.Lock()
	}
	if c.err != nil {
		err := c.err
		c.mu.Unlock()
		return false, err
	}
	c.book(call)
	binary.LittleEndian.PutUint32(call.Frame[4:], call.id)
	c.pending = append(c.pending, call.Frame...)
	call.end = c.offered + uint64(len(c.pending))
	c.flush()
	err = c.await(ctx, call)
	return !call.unsent, err
}

// book gives the call a slot and an id. The lock is held.
func (c *Client) book(call *Call) {
	at := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	s := &c.slots[at]
	s.id += 1 << 16
	s.call, s.used, call.id = call, true, s.id
	c.inFlight.Add(1)
}

// take frees the slot of an id and returns its call, or nil if that was abandoned. The
// lock is held.
func (c *Client) take(id uint32) (*Call, error) {
	at := int(id & 0xffff)
	if at >= len(c.slots) || !c.slots[at].used || c.slots[at].id != id {
		return nil, fmt.Errorf("an answer with the id %d, which is unknown or already answered", id)
	}
	s := &c.slots[at]
	call := s.call
	s.call, s.used = nil, false
	c.free = append(c.free, uint16(at))
	c.inFlight.Add(-1)
	if len(c.free) == 1 {
		c.roomier()
	}
	if call != nil {
		call.taken = true
		c.waiting.remove(call)
	}
	return call, nil
}

// leave abandons a call: its answer will be discarded. The lock is held.
func (c *Client) leave(call *Call) {
	c.waiting.remove(call)
	c.slots[call.id&0xffff].call = nil
}

// unreadAtEnd says that a socket reports ECONNRESET if and only if the peer's end was
// closed with bytes that it had not read: then it does not have the last one that was
// sent, nor the whole request with it. So does Linux (unix_release_sock in
// net/unix/af_unix.c).
const unreadAtEnd = runtime.GOOS == "linux"

// fail ends the connection and all calls.
func (c *Client) fail(err error) {
	e := storage.AsError(err)
	if e.Code != storage.Unavailable {
		e = lost("the connection to the plugin is lost", err)
	}
	var left []*Call
	c.mu.Lock()
	if c.err == nil {
		c.err = e
	}
	e = c.err.(*storage.Error)
	received := c.offered // at most
	if unreadAtEnd && received > 0 && errors.Is(e, syscall.ECONNRESET) {
		received--
	}
	for i := range c.slots {
		s := &c.slots[i]
		if s.used && s.call != nil {
			s.call.taken, s.call.unsent = true, s.call.end > received
			c.waiting.remove(s.call)
			left = append(left, s.call)
		}
		if s.used {
			s.used, s.call = false, nil
			c.inFlight.Add(-1)
		}
	}
	c.roomier()
	c.mu.Unlock()
	for _, call := range left {
		call.err = e
		call.done <- true
	}
	c.ended.Do(func() {
		_ = c.conn.Close() // it fails only when it was closed before
		close(c.outbox.end)
		if c.config.Ended != nil {
			c.config.Ended(e)
		}
	})
}
