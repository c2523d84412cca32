package abi

import (
	"math"
	"math/bits"

	"github.com/plinthkv/plinth/storage"
)

// This file is the little of the protocol buffers wire format that the messages
// use. A position is a plain int, and a negative one is one of the faults below.
// In a WASM guest every call goes through memory, so decoders read the usual
// tag, of one byte, themselves, and call once for the value.

const (
	wireVarint = 0
	wireI64    = 1
	wireBytes  = 2
	wireI32    = 5
)

const (
	cut         = -1
	longVarint  = -2
	badField    = -3
	badWireType = -4
	badText     = -5 // from here on: a message, but one that says what it may not
	badID       = -6
	badKind     = -7
	negative    = -8
	maxFieldNum = 1<<29 - 1
)

// uvarint reads the varint at i, and gives the position after it or a fault.
func uvarint(b []byte, i int) (v uint64, next int) {
	for n, c := range b[i:] {
		if c < 0x80 {
			if n == 9 && c > 1 {
				return 0, longVarint
			}
			return v | uint64(c)<<(7*n&63), i + n + 1
		}
		if n == 9 {
			return 0, longVarint
		}
		v |= uint64(c&0x7F) << (7 * n & 63)
	}
	return 0, cut
}

// field reads the length at i and the bytes after it, as a view. Its result is
// not nil, also where it is empty.
func field(b []byte, i int) ([]byte, int) {
	if i >= len(b) {
		return nil, cut
	}
	n := uint64(b[i])
	i++
	if n >= 0x80 {
		if n, i = uvarint(b, i-1); i < 0 {
			return nil, i
		}
	}
	if n > uint64(len(b)-i) {
		return nil, cut
	}
	end := i + int(n)
	return b[i:end:end], end
}

// plain reads a field of bytes where absent and empty are the same: nil.
func plain(b []byte, i int) ([]byte, int) {
	v, i := field(b, i)
	if len(v) == 0 {
		return nil, i
	}
	return v, i
}

// skip passes over the value at i of a field that the message does not know.
// known has the bits of the numbers it does know: one of those here has the
// wrong wire type.
func skip(b []byte, i int, tag, known uint64) int {
	num := tag >> 3
	switch {
	case num == 0 || num > maxFieldNum:
		return badField
	case num < 64 && known>>num&1 != 0:
		return badWireType
	}
	switch tag & 7 {
	case wireVarint:
		_, i = uvarint(b, i)
		return i
	case wireI64:
		i += 8
	case wireBytes:
		_, i = field(b, i)
		return i
	case wireI32:
		i += 4
	default:
		return badWireType
	}
	if i > len(b) {
		return cut
	}
	return i
}

// count returns how many fields of b have the tag.
func count(b []byte, message string, tag uint64) (int, error) {
	n, _, err := countTwo(b, message, tag, tag)
	return n, err
}

// countTwo counts two tags, and refuses more than MaxElements of them together.
// It stops at the first fault.
func countTwo(b []byte, message string, first, second uint64) (n, m int, err error) {
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return 0, 0, malformed(message, at, next)
			}
		}
		switch {
		case tag == first:
			n++
			_, i = field(b, next)
		case tag == second:
			m++
			_, i = field(b, next)
		default:
			i = skip(b, next, tag, 0)
		}
		if i < 0 {
			return 0, 0, malformed(message, at, i)
		}
	}
	return n, m, bounded(message, n+m)
}

// malformed returns the error of the field at an offset of a message.
func malformed(message string, at, fault int) error {
	code, why := storage.Serialization, "is cut"
	switch fault {
	case longVarint:
		why = "has a varint of more than 64 bits"
	case badField:
		why = "has an invalid number"
	case badWireType:
		why = "has the wrong wire type"
	case badText:
		code, why = storage.InvalidArgument, "is not valid UTF-8"
	case badID:
		code, why = storage.InvalidArgument, "has a length other than 16"
	case badKind:
		code, why = storage.InvalidArgument, "has a kind above 255"
	case negative:
		code, why = storage.InvalidArgument, "is negative"
	}
	return storage.Errorf(code, "%s: the field at %d %s", message, at, why)
}

// room gives s, which is full, the capacity for all n elements of its message.
// A decoder whose slices have room from the message before does not count.
func room[T any](s []T, n int) []T {
	r := make([]T, len(s), n)
	copy(r, s)
	return r
}

// bounded returns the error of a message with more than MaxElements elements.
func bounded(message string, n int) error {
	if n > MaxElements {
		return tooMany(message, "elements", MaxElements, n)
	}
	return nil
}

func sizeUvarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// sizeBytes returns the size of a field of n bytes with a number below 16.
func sizeBytes(n int) int { return 1 + sizeUvarint(uint64(n)) + n }

// sizeUint returns the size of a varint field with a number below 16; 0 for 0.
func sizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + sizeUvarint(v)
}

// sizePlain returns sizeBytes, 0 for 0.
func sizePlain(n int) int {
	if n == 0 {
		return 0
	}
	return sizeBytes(n)
}

// sizeOptional returns sizeBytes, 0 for nil.
func sizeOptional(v []byte) int {
	if v == nil {
		return 0
	}
	return sizeBytes(len(v))
}

func appendUvarint(dst []byte, v uint64) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

// appendLen appends the tag and length of a field whose n bytes follow.
func appendLen(dst []byte, tag byte, n int) []byte {
	if n < 0x80 {
		return append(dst, tag, byte(n))
	}
	return appendUvarint(append(dst, tag), uint64(n))
}

// appendUint leaves 0 out.
func appendUint(dst []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	if v < 0x80 {
		return append(dst, tag, byte(v))
	}
	return appendUvarint(append(dst, tag), v)
}

func appendBool(dst []byte, tag byte, v bool) []byte {
	if !v {
		return dst
	}
	return append(dst, tag, 1)
}

// appendPlain leaves empty bytes out.
func appendPlain(dst []byte, tag byte, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	return append(appendLen(dst, tag, len(v)), v...)
}

// appendOptional leaves nil out, and nothing else.
func appendOptional(dst []byte, tag byte, v []byte) []byte {
	if v == nil {
		return dst
	}
	return append(appendLen(dst, tag, len(v)), v...)
}

// toInt returns v as an int, the largest one where it is larger.
func toInt(v uint64) int { return int(min(v, math.MaxInt)) }

// fromInt returns v, 0 where it is negative.
func fromInt(v int) uint64 { return uint64(max(v, 0)) }
