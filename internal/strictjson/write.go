package strictjson

import (
	"encoding/base64"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/plinthkv/plinth/storage"
)

// Writer writes objects with their fields in the order in which they are given. An error of
// the writer below stays, and is that of End.
type Writer struct {
	to    io.Writer
	buf   []byte // not written yet
	begun bool
	err   error
}

// NewWriter writes to w: an object at once, and those with large values in pieces.
func NewWriter(w io.Writer) *Writer { return &Writer{to: w} }

// TimeForm formats times: RFC 3339 in UTC, to the millisecond.
const TimeForm = "2006-01-02T15:04:05.000Z07:00"

// pieceBytes is how much of a value is encoded at once: a multiple of 3, for base64.
const pieceBytes = 48 << 10

// Bytes writes a field of text or, with 64 behind its name, of bytes in base64 where they
// are no text. It is encoded piece by piece: a value may be large, and is larger as text.
func (w *Writer) Bytes(name string, value []byte) {
	if utf8.Valid(value) {
		w.open(name, "")
		w.text(value)
		return
	}
	w.open(name, "64")
	for len(value) > 0 {
		n := min(pieceBytes, len(value))
		w.buf = base64.StdEncoding.AppendEncode(w.buf, value[:n])
		value = value[n:]
		w.spill()
	}
	w.buf = append(w.buf, '"')
}

// text appends what stands between quotes, and the second of them.
func (w *Writer) text(value []byte) {
	for len(value) > 0 {
		n := min(pieceBytes, len(value))
		for n < len(value) && !utf8.RuneStart(value[n]) {
			n--
		}
		w.buf = appendText(w.buf, value[:n])
		value = value[n:]
		w.spill()
	}
	w.buf = append(w.buf, '"')
}

// appendText appends text as it stands between quotes. b is not empty: its last byte is
// where the quoting begins, and is put back.
func appendText(b, text []byte) []byte {
	at := len(b) - 1
	last := b[at]
	b, _ = jsontext.AppendQuote(b[:at], text) // fails on invalid UTF-8
	b[at] = last
	return b[:len(b)-1]
}

// Text writes a field of text.
func (w *Writer) Text(name, text string) { w.Bytes(name, []byte(text)) }

// Uint writes a field with a number as text: JavaScript would round it.
func (w *Writer) Uint(name string, n uint64) {
	w.open(name, "")
	w.buf = append(strconv.AppendUint(w.buf, n, 10), '"')
}

// Time writes a field with a time.
func (w *Writer) Time(name string, at time.Time) {
	w.open(name, "")
	w.buf = append(at.UTC().AppendFormat(w.buf, TimeForm), '"')
}

// End ends the object, and its line.
func (w *Writer) End() error {
	if !w.begun {
		w.buf = append(w.buf, '{')
	}
	w.begun = false
	w.buf = append(w.buf, "}\n"...)
	w.write(len(w.buf))
	return w.err
}

// open appends the part of a field before its text.
func (w *Writer) open(name, suffix string) {
	begin := byte(',')
	if !w.begun {
		begin, w.begun = '{', true
	}
	w.buf = append(w.buf, begin, '"')
	w.buf = append(append(w.buf, name...), suffix...)
	w.buf = append(w.buf, `":"`...)
}

// spill writes what there is once it is much, but for the last byte.
func (w *Writer) spill() {
	if len(w.buf) >= pieceBytes {
		w.write(len(w.buf) - 1)
	}
}

// write writes n bytes of what there is.
func (w *Writer) write(n int) {
	if w.err == nil {
		_, w.err = w.to.Write(w.buf[:n])
	}
	w.buf = w.buf[:copy(w.buf, w.buf[n:])]
}

// Change writes an object of a change: "change" with its kind, "key", of a delete range "end",
// of a put "value", "version" and "expires_at".
func (w *Writer) Change(c *storage.Change) error {
	w.Text("change", c.Kind.String())
	w.Bytes("key", c.Key)
	if c.End != nil {
		w.Bytes("end", c.End)
	}
	if c.Kind == storage.ChangePut {
		w.Bytes("value", c.Value)
	}
	w.Uint("version", c.Version)
	if !c.ExpiresAt.IsZero() {
		w.Time("expires_at", c.ExpiresAt)
	}
	return w.End()
}
