//go:build unix

package frames

import (
	"sync"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// Call is one request and what comes of it. It is used again: [Begin] and Free.
type Call struct {
	// Frame is the request: begun by Begin, with the message appended by who asks.
	Frame []byte
	// Header is what the frame has as its header, for who sends the message by other means.
	Header abi.Header
	// Code and Message are the answer; the message belongs to who asked.
	Code    storage.Code
	Message []byte

	err error // of the connection, or the Error of the answer

	// What follows is guarded by the client's lock, until done says true.
	id         uint32
	taken      bool // its answer is being handed over
	leads      bool // it was made the reader
	waits      bool // it is in the list of those who wait
	prev, next *Call
	done       chan bool // of two: true: the answer is here, false: read yourself
}

var calls = sync.Pool{New: func() any { return &Call{done: make(chan bool, 2)} }}

// Begin is a call of op, to which the message is to be appended.
func Begin(op abi.Op, h *abi.Header) *Call {
	c := calls.Get().(*Call)
	c.Frame = abi.BeginFrame(c.Frame[:0], 0, uint8(op), h)
	if h != nil {
		c.Header = *h
	}
	return c
}

// Free gives c back. Its message stays with who asked.
func (c *Call) Free() {
	if cap(c.Frame) > keptBuffer {
		c.Frame = nil
	}
	c.Code, c.Message, c.err, c.Header = 0, nil, nil, abi.Header{}
	c.taken, c.leads, c.waits = false, false, false
	calls.Put(c)
}

// answered takes the answer over from the buffer.
func (c *Call) answered(f *abi.Frame) {
	if c.Code = storage.Code(f.Kind); c.Code != storage.OK {
		c.err = f.Err() // its texts are copies
		return
	}
	m := make([]byte, len(f.Message))
	copy(m, f.Message)
	c.Message = m
}

// list is the calls that wait, in the order in which they came.
type list struct{ first, last *Call }

func (l *list) add(c *Call) {
	c.waits, c.prev, c.next = true, l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
}

func (l *list) remove(c *Call) {
	if !c.waits {
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	c.waits, c.prev, c.next = false, nil, nil
}

// Request finishes the frame and reads it again, for who sends its message another
// way. What it answers is views.
func (c *Call) Request() (f abi.Frame, err error) {
	if c.Frame, err = abi.EndFrame(c.Frame, 0); err != nil {
		return f, err
	}
	f, _, err = abi.ReadFrame(c.Frame, len(c.Frame))
	return f, err
}
