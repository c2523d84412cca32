//go:build unix

package frames

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// ClientConfig is how a [Client] asks. Zero values have the defaults named here.
type ClientConfig struct {
	MaxFrame int           // largest answer taken, in bytes; 64 MiB
	Calls    int           // most calls under way, those that were left included; more wait. 1024, at most 65536
	Patience time.Duration // for the peer to take some of what it is sent; 10 s, negative: for ever
	Cancels  bool          // whether the peer is told of calls that were left
	// Ended is told once why the connection is of no use any more. It must not
	// wait for calls. Nil: nobody is told.
	Ended func(error)
}

// Client sends calls and takes their answers. It is safe for concurrent use.
//
// There is no goroutine that reads. Of those who wait for an answer one is the
// reader, and hands the others theirs; when it has its own it makes the next who
// waits the reader. Only where answers are outstanding and nobody waits for them
// here, because they are still sending or have left, a goroutine reads.
type Client struct {
	config ClientConfig
	conn   *Conn
	outbox // its mu guards all up to the reader's part

	slots    []slot
	free     []uint16 // indexes of slots
	waiting  list
	reading  bool            // there is a reader
	readerIs context.Context // of the reader, while it may sleep; nil: none
	woken    bool            // it was told to stop reading
	inFlight atomic.Int32    // slots in use
	answers  atomic.Uint64

	relay chan struct{} // of one: read, for nobody does
	ended sync.Once

	// What follows is the reader's.
	buf        []byte
	begin, end int
	landed     []landing
	watch      func() bool // stops the wait for the reader's context
	interrupt  func()
}

// slot is where a call is found by the low half of its id. The high half changes
// with each use, so that an answer to one that is over is known.
type slot struct {
	call *Call // nil: free, or its caller has left
	id   uint32
	used bool
}

type landing struct {
	call  *Call
	frame abi.Frame
}

// NewClient asks over conn, which it closes in the end.
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
	conn.park = cl.parks
	cl.start(conn, c.Patience, func() bool { return cl.inFlight.Load() > 1 }, cl.fail)
	cl.done.Go(cl.relays)
	return cl
}

// Close ends the connection; calls under way fail. It is idempotent, and returns
// when nothing of the client runs any more but callers on their way out.
func (c *Client) Close() {
	c.fail(lost("the connection was closed", nil))
	c.done.Wait()
}

// lost is an error of the connection.
func lost(text string, cause error) *storage.Error {
	if cause != nil {
		text = fmt.Sprintf("%s: %v", text, cause)
	}
	return &storage.Error{Code: storage.Unavailable, Msg: text, Err: cause}
}

// InFlight is how many calls were sent and not answered.
func (c *Client) InFlight() int { return int(c.inFlight.Load()) }

// Answers is how many answers have come.
func (c *Client) Answers() uint64 { return c.answers.Load() }

// Do sends the call and waits for its answer. sent tells of an error whether the
// peer may have the request. A context that ends leaves the call behind, which is
// harmless to the connection.
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
	c.flush()
	return true, c.await(ctx, call)
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

// take is the call that an id names, whose slot is free then; nil: its caller has
// left. The lock is held.
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

// leave has the answer to a call thrown away when it comes. The lock is held.
func (c *Client) leave(call *Call) {
	c.waiting.remove(call)
	c.slots[call.id&0xffff].call = nil
}

// await waits for the answer, as the reader if there is none.
func (c *Client) await(ctx context.Context, call *Call) error {
	c.mu.Lock()
	switch {
	case call.taken:
		c.mu.Unlock()
		<-call.done
		return call.err
	case c.reading:
		c.waiting.add(call)
		c.mu.Unlock()
	default:
		c.reading = true
		c.mu.Unlock()
		return c.read(ctx, call)
	}
	select {
	case answered := <-call.done:
		if answered {
			return call.err
		}
		return c.read(ctx, call)
	case <-ctx.Done():
	}
	c.mu.Lock()
	if call.taken {
		c.mu.Unlock()
		for !<-call.done { // it may have been made the reader before
		}
		return call.err
	}
	c.leave(call)
	if call.leads {
		<-call.done
		c.handOver()
	}
	c.tells(call.id)
	return storage.ContextError(ctx)
}

// tells says that a call was left. The lock is held, and released.
func (c *Client) tells(id uint32) {
	if !c.config.Cancels || c.err != nil {
		c.mu.Unlock()
		return
	}
	start := len(c.pending)
	c.pending, _ = abi.EndFrame(abi.BeginFrame(c.pending, id, uint8(abi.OpCancel), nil), start)
	c.flush()
}

// read reads until the call has its answer, and makes another the reader.
func (c *Client) read(ctx context.Context, call *Call) error {
	c.mu.Lock()
	call.leads = true
	c.readerIs = ctx
	c.mu.Unlock()
	for {
		err := c.fill()
		mine := false
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			mine, err = c.consume(call)
		}
		switch {
		case err != nil:
			c.fail(err)
			<-call.done
			return call.err
		case mine:
			c.mu.Lock()
			c.rests()
			c.handOver()
			c.mu.Unlock()
			return call.err
		case ctx.Err() != nil: // also where it never sleeps, for others are answered
			c.mu.Lock()
			c.rests()
			if call.taken { // the connection has failed meanwhile
				c.mu.Unlock()
				<-call.done
				return call.err
			}
			c.leave(call)
			c.handOver()
			c.tells(call.id)
			return storage.ContextError(ctx)
		}
	}
}

// parks is called by the reader before it sleeps: if its caller can leave, it has
// to be woken then.
func (c *Client) parks() {
	if ctx := c.readerIs; ctx != nil && ctx.Done() != nil && c.watch == nil {
		c.watch = context.AfterFunc(ctx, c.interrupt)
	}
}

// wakeReader has the reader stop, if it is still the one whose context has ended.
func (c *Client) wakeReader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readerIs != nil && c.readerIs.Err() != nil {
		c.woken = true
		c.conn.wake()
	}
}

// rests ends the time as the reader. The lock is held.
func (c *Client) rests() {
	if c.watch != nil {
		c.watch()
		c.watch = nil
	}
	c.readerIs = nil
	if c.woken {
		c.woken = false
		c.conn.calm()
	}
}

// handOver makes the first who waits the reader, or the goroutine if nobody does.
// The lock is held by the reader.
func (c *Client) handOver() {
	if next := c.waiting.first; next != nil {
		c.waiting.remove(next)
		next.leads = true
		next.done <- false
		return
	}
	if c.inFlight.Load() == 0 || c.err != nil {
		c.reading = false
		return
	}
	c.relay <- struct{}{} // it has room: only the reader is here
}

// relays reads while there are answers to come and nobody waits for them.
func (c *Client) relays() {
	for {
		select {
		case <-c.relay:
		case <-c.outbox.end:
			return
		}
		for {
			err := c.fill()
			if err == nil {
				_, err = c.consume(nil)
			}
			if err != nil {
				c.fail(err)
				return
			}
			c.mu.Lock()
			again := c.inFlight.Load() > 0 && c.waiting.first == nil
			if !again {
				c.handOver()
			}
			c.mu.Unlock()
			if !again {
				break
			}
		}
	}
}

// fill reads more into the buffer, which grows as far as the frame in it has come.
func (c *Client) fill() error {
	if c.begin == c.end {
		c.begin, c.end = 0, 0
		if cap(c.buf) > keptBuffer {
			c.buf = make([]byte, 64<<10)
		}
	} else if len(c.buf)-c.end < 4<<10 {
		if c.begin > 0 {
			c.end = copy(c.buf, c.buf[c.begin:c.end])
			c.begin = 0
		} else {
			c.buf = append(c.buf, make([]byte, len(c.buf))...)
		}
	}
	n, err := c.conn.fill(c.buf[c.end:])
	c.end += n
	return err
}

// consume hands over the answers that have come whole. mine tells whether that of
// the reader was among them.
func (c *Client) consume(self *Call) (mine bool, err error) {
	c.landed = c.landed[:0]
	c.mu.Lock()
	rest := c.buf[c.begin:c.end]
	for len(rest) >= 4 && abi.FrameSize(rest) <= uint64(len(rest)) || tooLong(rest, c.config.MaxFrame) {
		var l landing
		if l.frame, rest, err = abi.ReadFrame(rest, c.config.MaxFrame); err != nil {
			break
		}
		if l.call, err = c.take(l.frame.ID); err != nil {
			break
		}
		c.answers.Add(1)
		if l.call != nil {
			c.landed = append(c.landed, l)
		}
	}
	c.mu.Unlock()
	for i := range c.landed {
		l := &c.landed[i]
		l.call.answered(&l.frame)
		if l.call == self {
			mine = true
		} else {
			l.call.done <- true
		}
		l.call = nil
	}
	c.begin = c.end - len(rest)
	if err != nil {
		err = lost("the plugin broke the protocol", err)
		if mine {
			c.fail(err)
			return true, nil
		}
	}
	return mine, err
}

// tooLong tells of a frame that can be refused before it has come.
func tooLong(b []byte, most int) bool { return abi.FrameSize(b) > uint64(most) }

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
	for i := range c.slots {
		s := &c.slots[i]
		if s.used && s.call != nil {
			s.call.taken = true
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
