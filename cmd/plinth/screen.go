package main

import (
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// screen writes text for people: whatever could move the cursor, change colours or the
// direction of writing, or pass for another line's end is written as an escape. Text from
// outside may say anything, but not as this program.
type screen struct{ w io.Writer }

func (s screen) Write(p []byte) (int, error) {
	if _, err := s.w.Write(escaped(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escaped returns p with escapes. The ends of lines and tabs stay.
func escaped(p []byte) []byte {
	out := make([]byte, 0, len(p))
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, p[0])
		case r == '\n' || r == '\t' || strconv.IsPrint(r):
			out = append(out, p[:n]...)
		case r < utf8.RuneSelf:
			out = fmt.Appendf(out, `\x%02x`, r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			out = append(out, quoted[1:len(quoted)-1]...)
		}
		p = p[n:]
	}
	return out
}

// forPeople returns w, with escapes where it is a terminal: what is piped stays as it is.
func forPeople(w io.Writer) io.Writer {
	if isTerminal(w) {
		return screen{w}
	}
	return w
}
