package abi

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/plinthkv/plinth/storage"
)

// Texts are valid UTF-8 on the wire. What is not is mended where it is sent, so
// that no carrier refuses a whole answer for a name in it.

func mend(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// mendCut mends s, and cuts it to MaxErrorText bytes.
func mendCut(s string) string { return cutText(mend(cutText(s))) }

// Printable returns a text from outside in a form that may be logged and shown: valid
// UTF-8 of at most [MaxErrorText] bytes on one line, without control characters and other
// characters that would change the text around it. Ends of lines and tabs become blanks,
// the others U+FFFD.
func Printable(s string) string {
	s = mendCut(s)
	ok := true
	for _, r := range s {
		ok = ok && strconv.IsPrint(r)
	}
	if ok {
		return s
	}
	return mendCut(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !strconv.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, s))
}

func cutText(s string) string {
	if len(s) <= MaxErrorText {
		return s
	}
	n := MaxErrorText
	for n > MaxErrorText-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// appendText appends a text that was mended, and leaves the empty one out.
func appendText(dst []byte, tag byte, s string) []byte {
	if s == "" {
		return dst
	}
	return append(appendLen(dst, tag, len(s)), s...)
}

// text reads a text that has to be valid.
func text(b []byte, i int) (string, int) {
	v, i := field(b, i)
	if i >= 0 && !utf8.Valid(v) {
		return "", badText
	}
	return string(v), i
}

// id reads 16 bytes, or none, which are the zero one.
func id(b []byte, i int) (v [16]byte, next int) {
	p, i := field(b, i)
	if i >= 0 && len(p) != 0 && len(p) != len(v) {
		return v, badID
	}
	copy(v[:], p)
	return v, i
}

// appendID leaves the zero one out.
func appendID(dst []byte, tag byte, id *[16]byte) []byte {
	if *id == [16]byte{} {
		return dst
	}
	return append(append(dst, tag, byte(len(id))), id[:]...)
}

// The last second and millisecond of the year 9999, the last that the texts of
// times can write.
const (
	maxSeconds = 253402300799
	maxMillis  = maxSeconds*1000 + 999
)

// fromTime returns t in ms since the epoch: 0, which is never, for the zero time and beyond
// the year 9999; 1 at or before the epoch; rounded up, so that nothing expires early.
func fromTime(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	seconds := t.Unix()
	if seconds < 0 {
		return 1
	}
	if seconds > maxSeconds {
		return 0
	}
	ms := uint64(seconds)*1000 + uint64(t.Nanosecond()+999_999)/1_000_000
	if ms > maxMillis {
		return 0
	}
	return max(ms, 1)
}

// expiry reads a time in ms since the epoch, in UTC.
func expiry(b []byte, i int) (time.Time, int) {
	v, i := uvarint(b, i)
	if i >= 0 && v > math.MaxInt64 {
		return time.Time{}, negative
	}
	if v == 0 || v > maxMillis {
		return time.Time{}, i
	}
	return time.UnixMilli(int64(v)).UTC(), i
}

// fromDuration returns d in ms, rounded up; 0 where it is negative.
func fromDuration(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	ms := uint64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return ms
}

// toDuration returns v ms, or the longest duration.
func toDuration(v uint64) time.Duration {
	if v > uint64(math.MaxInt64/time.Millisecond) {
		return math.MaxInt64
	}
	return time.Duration(v) * time.Millisecond
}

// kind reads an enum into the 8 bits that kinds have here. As in protocol
// buffers only the low 32 bits of the varint count.
func kind(b []byte, i int) (uint8, int) {
	v, i := uvarint(b, i)
	if i >= 0 && uint32(v) > math.MaxUint8 {
		return 0, badKind
	}
	return uint8(v), i
}

// tooMany returns the error of a message with more than limit elements.
func tooMany(message, kind string, limit, actual int) error {
	e := storage.LimitError(storage.SizeLimit, kind, int64(limit), int64(actual))
	e.Msg = message + " holds too many " + kind
	return e
}
