package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// inputBuffer is how much of an input is read at once, in bytes.
const inputBuffer = 256 << 10

// plainText returns the UTF-8 text of an input: it decompresses gzip, and skips a byte order
// mark.
func plainText(r io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReaderSize(r, inputBuffer)
	if head, _ := b.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		b = bufio.NewReaderSize(z, inputBuffer)
	}
	head, _ := b.Peek(3)
	switch {
	case bytes.HasPrefix(head, []byte{0xef, 0xbb, 0xbf}):
		_, _ = b.Discard(3) // they are there
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return nil, errors.New("UTF-16 is not supported: convert the file to UTF-8, for example with iconv -f UTF-16 -t UTF-8")
	}
	return b, nil
}

// beginsArray reports whether the first thing in r is a JSON array, and passes over the white
// space before it.
func beginsArray(r *bufio.Reader) bool {
	for {
		head, err := r.Peek(1)
		if err != nil {
			return false
		}
		switch head[0] {
		case ' ', '\t', '\r', '\n':
			_, _ = r.Discard(1) // it is there
		default:
			return head[0] == '['
		}
	}
}

// items returns those of the JSON array that r begins with, one after the other.
func items(r io.Reader) func() ([]byte, error) {
	d := jsontext.NewDecoder(r)
	begun := false
	return func() ([]byte, error) {
		if !begun {
			begun = true
			if _, err := d.ReadToken(); err != nil {
				return nil, err
			}
		}
		if d.PeekKind() != ']' {
			v, err := d.ReadValue()
			switch {
			case errors.Is(err, io.EOF):
				err = io.ErrUnexpectedEOF
			case len(v) > maxLine:
				err = fmt.Errorf("an item exceeds %d bytes", maxLine)
			}
			return v, err
		}
		if _, err := d.ReadToken(); err != nil {
			return nil, err
		}
		if _, err := d.ReadToken(); err != io.EOF {
			return nil, errors.New("unexpected data after the array")
		}
		return nil, io.EOF
	}
}
