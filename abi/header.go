package abi

import (
	"bytes"
	"encoding/binary"

	"github.com/plinthkv/plinth/storage"
)

// The tags of a header: a run of u8 tag | u8 length | bytes.
const (
	TagNow         = 1 // i64, ms since the epoch
	TagDeadline    = 2 // i64, ms left
	TagTraceparent = 3 // text, by W3C Trace Context
	TagTracestate  = 4 // text, by W3C Trace Context
	TagBudget      = 5 // u32, bytes
)

// maxTagValue limits what the length byte of a tag can say.
const maxTagValue = 255

// Header carries the data of a call outside its message. The zero value is an empty
// header. Decoded slices are views.
type Header struct {
	Now int64 // the host's clock, unix ms; 0 and below: not sent
	// Deadline holds the time that the call has left, in ms. Zero means no deadline. A
	// negative one has passed, and is sent as 1.
	Deadline int64
	Budget   uint32 // largest answer wanted, in bytes with the frame's head; 0 means the maximum frame
	// Traceparent and Tracestate are the W3C trace context, as text. A
	// traceparent of more than 255 bytes is not sent; of such a tracestate only
	// the entries that fit are.
	Traceparent, Tracestate []byte
}

// append appends the tags that are set. It is at most 540 bytes.
func (h *Header) append(dst []byte) []byte {
	if h.Now > 0 {
		dst = append(dst, TagNow, 8)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(h.Now))
	}
	if h.Deadline != 0 {
		dst = append(dst, TagDeadline, 8)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(max(h.Deadline, 1)))
	}
	if n := len(h.Traceparent); n > 0 && n <= maxTagValue {
		dst = append(dst, TagTraceparent, byte(n))
		dst = append(dst, h.Traceparent...)
	}
	if s := wholeEntries(h.Tracestate); len(s) > 0 {
		dst = append(dst, TagTracestate, byte(len(s)))
		dst = append(dst, s...)
	}
	if h.Budget > 0 {
		dst = append(dst, TagBudget, 4)
		dst = binary.LittleEndian.AppendUint32(dst, h.Budget)
	}
	return dst
}

// wholeEntries returns the part of a tracestate that fits a tag, cut between two
// entries as W3C Trace Context 3.3.1.5 asks, from the end.
func wholeEntries(s []byte) []byte {
	if len(s) <= maxTagValue {
		return s
	}
	return s[:max(bytes.LastIndexByte(s[:maxTagValue+1], ','), 0)]
}

// Decode reads the header b of a frame into h. Unknown tags are skipped; the last of a
// repeated tag counts. A tag that is cut is a Serialization error, a value with the wrong
// length or a negative number an InvalidArgument.
func (h *Header) Decode(b []byte) error {
	*h = Header{}
	for i := 0; i < len(b); {
		if i+2 > len(b) || i+2+int(b[i+1]) > len(b) {
			return storage.Errorf(storage.Serialization, "header: the tag at %d is cut", i)
		}
		end := i + 2 + int(b[i+1])
		v := b[i+2 : end : end]
		ok := true
		switch b[i] {
		case TagNow:
			if ok = len(v) == 8; ok {
				h.Now = int64(binary.LittleEndian.Uint64(v))
				ok = h.Now >= 0
			}
		case TagDeadline:
			if ok = len(v) == 8; ok {
				h.Deadline = int64(binary.LittleEndian.Uint64(v))
				ok = h.Deadline >= 0
			}
		case TagTraceparent:
			h.Traceparent = v
		case TagTracestate:
			h.Tracestate = v
		case TagBudget:
			if ok = len(v) == 4; ok {
				h.Budget = binary.LittleEndian.Uint32(v)
			}
		}
		if !ok {
			return storage.Errorf(storage.InvalidArgument, "header: the tag %d at %d has no valid value", b[i], i)
		}
		i = end
	}
	return nil
}
