//go:build unix

package frames

import (
	"runtime"
	"sync"
	"time"
)

const (
	// keptBuffer is the largest buffer that is kept, in bytes.
	keptBuffer = 1 << 20
	// mostPending is how many bytes may wait to be written before those who would
	// add to them wait too. One frame alone may be larger.
	mostPending = 1 << 20
)

// outbox writes what many goroutines append. The first of them writes, as much as the
// socket accepts at once. A goroutine of the outbox's own writes the rest, and what was
// appended meanwhile, so that no caller is held up by other callers' messages or by a
// peer that does not read.
type outbox struct {
	conn     *Conn
	patience time.Duration // the longest wait for the peer to read something; if negative, indefinite
	crowded  func() bool   // whether others are likely to append soon
	failed   func(error)

	mu      sync.Mutex
	pending []byte
	spare   []byte
	offered uint64 // all bytes that were written, or are being written
	writing bool
	err     error         // why nothing is written any more
	room    chan struct{} // closed when there is some again; nil if no goroutine waits

	kick chan []byte // the rest of a write, for the goroutine to continue
	end  chan struct{}
	done sync.WaitGroup
}

func (o *outbox) start(conn *Conn, patience time.Duration, crowded func() bool, failed func(error)) {
	o.conn, o.patience, o.crowded, o.failed = conn, patience, crowded, failed
	o.kick, o.end = make(chan []byte, 1), make(chan struct{})
	o.done.Go(o.loop)
}

// stop ends the goroutine, after the connection was closed.
func (o *outbox) stop() {
	close(o.end)
	o.done.Wait()
}

// takes reports whether n more bytes may be appended. The lock is held.
func (o *outbox) takes(n int) bool { return len(o.pending) == 0 || len(o.pending)+n <= mostPending }

// wait returns a channel that is closed when it is worth to look again. The lock is held.
func (o *outbox) wait() <-chan struct{} {
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// roomier has those look again who wait. The lock is held.
func (o *outbox) roomier() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// flush writes what is pending, or leaves it to whoever is writing. The lock is
// held, and released.
func (o *outbox) flush() {
	if o.writing || o.err != nil {
		o.mu.Unlock()
		return
	}
	o.writing = true
	if o.crowded() {
		o.mu.Unlock()
		runtime.Gosched()              // those who are about to append do so first
		if o.mu.Lock(); o.err != nil { // never offer bytes after the end
			o.mu.Unlock()
			return
		}
	}
	b := o.take()
	o.mu.Unlock()
	n, err := o.conn.offer(b)
	if err != nil {
		o.unwritten(len(b) - n)
		o.failed(err)
		return
	}
	o.mu.Lock()
	if n == len(b) {
		o.keep(b)
		if len(o.pending) == 0 {
			o.writing = false
			o.mu.Unlock()
			return
		}
		b = nil
	} else {
		b = b[n:]
	}
	o.mu.Unlock()
	o.kick <- b // it has room: writing is ours to pass on
}

// take returns the pending bytes. The lock is held.
func (o *outbox) take() []byte {
	b := o.pending
	o.pending, o.spare = o.spare[:0], nil
	o.offered += uint64(len(b))
	o.roomier()
	return b
}

// unwritten takes back n bytes that the socket has not accepted, and never will.
func (o *outbox) unwritten(n int) {
	o.mu.Lock()
	o.offered -= uint64(n)
	o.mu.Unlock()
}

// keep has a buffer used again. The lock is held.
func (o *outbox) keep(b []byte) {
	if cap(b) <= keptBuffer {
		o.spare = b[:0]
	}
}

// loop writes what others leave to it.
func (o *outbox) loop() {
	for {
		var b []byte
		select {
		case b = <-o.kick:
		case <-o.end:
			return
		}
		for {
			if len(b) == 0 {
				o.mu.Lock()
				if len(o.pending) == 0 || o.err != nil {
					o.writing = false
					o.mu.Unlock()
					break
				}
				b = o.take()
				o.mu.Unlock()
			}
			if n, err := o.conn.push(b, o.patience); err != nil {
				o.unwritten(len(b) - n)
				o.failed(err)
				break
			}
			o.mu.Lock()
			o.keep(b)
			o.mu.Unlock()
			b = nil
		}
	}
}
