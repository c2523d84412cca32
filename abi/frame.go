package abi

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/plinthkv/plinth/storage"
)

// The head of a frame, little-endian:
//
//	u32 length of all that follows | u32 id | u8 kind | u8 flags | u16 header length
const (
	frameHead  = 12
	lengthWord = 4
	kindAt     = 8
	flagsAt    = 9
	headerAt   = 10
)

// Frame holds one request or answer. Header and Message are views.
type Frame struct {
	ID      uint32 // chosen by the host; the answer carries the same
	Kind    uint8  // an [Op] in requests, a [storage.Code] in answers
	Header  []byte // see [Header.Decode]
	Message []byte // of the op; in an answer that is not OK an Error, or nothing
}

// BeginFrame appends the head of a frame to dst, with a length that [EndFrame]
// fills in after the message was appended. A nil h is an empty header.
func BeginFrame(dst []byte, id uint32, kind uint8, h *Header) []byte {
	dst = append(dst, 0, 0, 0, 0, byte(id), byte(id>>8), byte(id>>16), byte(id>>24), kind, 0, 0, 0)
	if h == nil {
		return dst
	}
	start := len(dst)
	dst = h.append(dst)
	binary.LittleEndian.PutUint16(dst[start-2:], uint16(len(dst)-start))
	return dst
}

// EndFrame fills in the length of the frame that began at start, the length of
// dst before [BeginFrame]. A frame of 4 GiB or more is a SizeLimit error; b is
// then cut back to start.
func EndFrame(b []byte, start int) ([]byte, error) {
	n := uint64(len(b) - start - lengthWord)
	if n > math.MaxUint32 {
		return b[:start], storage.LimitError(storage.SizeLimit, "frame", math.MaxUint32, int64(n))
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(n))
	return b, nil
}

// FrameSize returns the size of the frame at the start of b according to its length word,
// including that word; 0 if the word is cut. It checks nothing.
func FrameSize(b []byte) uint64 {
	if len(b) < lengthWord {
		return 0
	}
	return uint64(binary.LittleEndian.Uint32(b)) + lengthWord
}

// ReadFrame returns the first frame of b and the rest of b. maxFrame is the largest frame
// accepted, in bytes with the length word; if zero, [DefaultMaxFrame].
//
// A frame that is cut is [io.ErrUnexpectedEOF]; rest is then all of b. A frame that is
// too long is a SizeLimit error, also while it is cut, and one that contradicts itself a
// Serialization error: nothing after it can be read. A frame with unknown flags is an
// Unsupported error with valid ID and rest, so that it can be refused and the next one
// read. ReadFrame does not allocate unless it fails.
func ReadFrame(b []byte, maxFrame int) (f Frame, rest []byte, err error) {
	if len(b) < lengthWord {
		return Frame{}, b, io.ErrUnexpectedEOF
	}
	if maxFrame <= 0 {
		maxFrame = DefaultMaxFrame
	}
	size := uint64(binary.LittleEndian.Uint32(b)) + lengthWord
	if size > uint64(maxFrame) {
		return Frame{}, b, storage.LimitError(storage.SizeLimit, "frame", int64(maxFrame), int64(size))
	}
	if size < frameHead {
		return Frame{}, b, storage.Errorf(storage.Serialization, "frame: a length of %d is shorter than a frame's head", size-lengthWord)
	}
	if size > uint64(len(b)) {
		return Frame{}, b, io.ErrUnexpectedEOF
	}
	end := int(size)
	f.ID, f.Kind = binary.LittleEndian.Uint32(b[lengthWord:]), b[kindAt]
	if b[flagsAt] != 0 {
		return f, b[end:], storage.Errorf(storage.Unsupported, "frame: unknown flags %#02x", b[flagsAt])
	}
	message := frameHead + int(binary.LittleEndian.Uint16(b[headerAt:]))
	if message > end {
		return Frame{}, b, storage.Errorf(storage.Serialization,
			"frame: a header of %d bytes in a frame of %d", message-frameHead, end)
	}
	f.Header = b[frameHead:message:message]
	f.Message = b[message:end:end]
	return f, b[end:], nil
}

// Err returns the error of an answer: nil for OK, else an error with the frame's code and
// the details in its message.
func (f *Frame) Err() *storage.Error {
	code := storage.Code(f.Kind)
	if code == storage.OK {
		return nil
	}
	if len(f.Message) == 0 {
		return fromCode(uint32(f.Kind), &storage.Error{})
	}
	e := &storage.Error{}
	if _, err := decodeErrorFields(f.Message, e); err != nil {
		e := unreadable(err)
		e.Unknown = true // whether something was written is lost with it
		return e
	}
	return fromCode(uint32(f.Kind), e)
}
