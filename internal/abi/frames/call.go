//go:build unix

package frames

import (
	"sync"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// Call holds a request and its answer. Calls are pooled: see [Begin] and [Call.Free].
type Call struct {
	// Frame holds the request: Begin begins it, the caller appends the message.
	Frame []byte
	// Header holds the header in the frame, for callers that send the message another way.
	Header abi.Header
	// Code and Message are the answer; the caller owns the message.
	Code    storage.Code
	Message []byte

	err error // of the connection, or the Error of the answer

	// Guarded by the client's lock, until done is true:
	id         uint32
	end        uint64 // how many bytes are sent before it and with it
	unsent     bool   // the peer cannot have the whole request
	taken      bool   // its answer is being handed over
	promoted   bool   // its caller was made the reader
	waits      bool   // it is in the list of waiting calls
	prev, next *Call
	done       chan bool // of two; true if the answer has arrived, false if its caller is now the reader
}

var calls = sync.Pool{New: func() any { return &Call{done: make(chan bool, 2)} }}

// Begin returns a call of op, to whose Frame the message is to be appended.
func Begin(op abi.Op, h *abi.Header) *Call {
	c := calls.Get().(*Call)
	c.Frame = abi.BeginFrame(c.Frame[:0], 0, uint8(op), h)
	if h != nil {
		c.Header = *h
	}
	return c
}

// Free returns c to the pool. The caller keeps the message.
func (c *Call) Free() {
	if cap(c.Frame) > keptBuffer {
		c.Frame = nil
	}
	c.Code, c.Message, c.err, c.Header = 0, nil, nil, abi.Header{}
	c.taken, c.promoted, c.waits, c.unsent = false, false, false, false
	calls.Put(c)
}

// answered copies the answer out of the buffer.
func (c *Call) answered(f *abi.Frame) {
	if c.Code = storage.Code(f.Kind); c.Code != storage.OK {
		c.err = f.Err() // its texts are copies
		return
	}
	m := make([]byte, len(f.Message))
	copy(m, f.Message)
	c.Message = m
}

// list holds the waiting calls, in order of arrival.
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

// Request completes the frame and returns its parts, as views of c.Frame.
func (c *Call) Request() (f abi.Frame, err error) {
	if c.Frame, err = abi.EndFrame(c.Frame, 0); err != nil {
		return f, err
	}
	f, _, err = abi.ReadFrame(c.Frame, len(c.Frame))
	return f, err
}
