package abigrpc

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Message can be encoded by the codec without reflection. The types are those of this
// package.
type Message interface {
	// size is at least the length of the encoded message, in most cases.
	size() int
	append(dst []byte) []byte
	decode(b []byte) error
}

// borrower is a message that is views of the buffer it came in, until it is freed.
type borrower interface {
	Message
	hold(mem.Buffer)
	failed(error)
}

// Tracked returns m with a function that is called when its encoded bytes are no longer
// needed: they were sent, or never will be. It is not called for messages of less than
// TrackedFrom bytes.
func Tracked(m Message, done func()) Message { return &tracked{m, done} }

// TrackedFrom sets the smallest size of a message, by Size, that Tracked reports.
const TrackedFrom = 4 << 10

type tracked struct {
	Message
	done func()
}

// Get takes a buffer from the pool.
func (t *tracked) Get(n int) *[]byte { return mem.DefaultBufferPool().Get(n) }

// Put gives it back, which is when it is no longer needed.
func (t *tracked) Put(b *[]byte) {
	mem.DefaultBufferPool().Put(b)
	t.done()
}

// NewCodec returns the codec of both sides: the messages of this package as abi
// writes them, all others, those of health and reflection, as protocol buffers.
// On the wire it is "proto", because the bytes are.
func NewCodec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name)} }

type codec struct{ others encoding.CodecV2 }

func (codec) Name() string { return proto.Name }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(Message)
	if !ok {
		return c.others.Marshal(v)
	}
	size := m.size()
	if mem.IsBelowBufferPoolingThreshold(size) {
		return mem.BufferSlice{mem.SliceBuffer(m.append(make([]byte, 0, size)))}, nil
	}
	pool := mem.DefaultBufferPool()
	t, isTracked := m.(*tracked)
	if isTracked && size >= TrackedFrom {
		pool = t
	}
	pooled := pool.Get(size)
	b := m.append((*pooled)[:0])
	if cap(b) != cap(*pooled) { // it has outgrown its buffer
		if isTracked && size >= TrackedFrom {
			*pooled = b
			return mem.BufferSlice{mem.NewBuffer(pooled, pool)}, nil
		}
		pool.Put(pooled)
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	*pooled = b
	return mem.BufferSlice{mem.NewBuffer(pooled, pool)}, nil
}

// Unmarshal copies a message once, for the reader to keep, and leaves the buffer of a
// request with the request.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case borrower:
		buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
		m.hold(buffer)
		m.failed(m.decode(buffer.ReadOnlyData()))
		return nil
	case Message:
		return m.decode(data.Materialize())
	}
	return c.others.Unmarshal(data, v)
}
