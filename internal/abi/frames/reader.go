//go:build unix

package frames

import (
	"context"
	"errors"
	"os"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// await waits for the call's answer, and reads if no other goroutine does.
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
		for !<-call.done { // it may have been promoted before
		}
		return call.err
	}
	c.leave(call)
	if call.promoted {
		<-call.done
		c.handOver()
	}
	c.sendCancel(call.id)
	return storage.ContextError(ctx)
}

// sendCancel notifies the peer that a call was abandoned. The lock is held, and released.
func (c *Client) sendCancel(id uint32) {
	if !c.config.Cancels || c.err != nil {
		c.mu.Unlock()
		return
	}
	start := len(c.pending)
	c.pending, _ = abi.EndFrame(abi.BeginFrame(c.pending, id, uint8(abi.OpCancel), nil), start)
	c.flush()
}

// read reads until the call has its answer, then passes reading on.
func (c *Client) read(ctx context.Context, call *Call) error {
	c.mu.Lock()
	call.promoted = true
	c.readerCtx = ctx
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
			c.stopReading()
			c.handOver()
			c.mu.Unlock()
			return call.err
		case ctx.Err() != nil: // also where it never sleeps, for others are answered
			c.mu.Lock()
			c.stopReading()
			if call.taken { // the connection has failed meanwhile
				c.mu.Unlock()
				<-call.done
				return call.err
			}
			c.leave(call)
			c.handOver()
			c.sendCancel(call.id)
			return storage.ContextError(ctx)
		}
	}
}

// beforeSleep has the reader woken when its context ends. The reader calls it before it
// sleeps.
func (c *Client) beforeSleep() {
	if ctx := c.readerCtx; ctx != nil && ctx.Done() != nil && c.watch == nil {
		c.watch = context.AfterFunc(ctx, c.interrupt)
	}
}

// wakeReader interrupts the reader if its context has ended.
func (c *Client) wakeReader() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readerCtx != nil && c.readerCtx.Err() != nil {
		c.woken = true
		c.conn.wake()
	}
}

// stopReading undoes what beforeSleep and wakeReader have done for this reader. The lock
// is held.
func (c *Client) stopReading() {
	if c.watch != nil {
		c.watch()
		c.watch = nil
	}
	c.readerCtx = nil
	if c.woken {
		c.woken = false
		c.conn.clearWake()
	}
}

// handOver promotes the first waiting caller to reader, or the relay if answers are
// outstanding and no caller waits. The lock is held by the reader.
func (c *Client) handOver() {
	if next := c.waiting.first; next != nil {
		c.waiting.remove(next)
		next.promoted = true
		next.done <- false
		return
	}
	if c.inFlight.Load() == 0 || c.err != nil {
		c.reading = false
		return
	}
	c.relay <- struct{}{} // it has room: only the reader is here
}

// relayLoop reads while answers are outstanding and no caller waits for one.
func (c *Client) relayLoop() {
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

// fill reads more into the buffer, which grows with the frame that it holds.
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

// consume hands complete answers to their callers. mine reports whether the reader's own
// was among them.
func (c *Client) consume(self *Call) (mine bool, err error) {
	c.arrived = c.arrived[:0]
	c.mu.Lock()
	rest := c.buf[c.begin:c.end]
	for len(rest) >= 4 && abi.FrameSize(rest) <= uint64(len(rest)) || tooLong(rest, c.config.MaxFrame) {
		var l arrival
		if l.frame, rest, err = abi.ReadFrame(rest, c.config.MaxFrame); err != nil {
			break
		}
		if l.call, err = c.take(l.frame.ID); err != nil {
			break
		}
		c.answers.Add(1)
		if l.call != nil {
			c.arrived = append(c.arrived, l)
		}
	}
	c.mu.Unlock()
	for i := range c.arrived {
		l := &c.arrived[i]
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

// tooLong reports whether the frame at the start of b exceeds most bytes, as far as its
// length has arrived.
func tooLong(b []byte, most int) bool { return abi.FrameSize(b) > uint64(most) }
