package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// inputBuffer is how much of an input is read at once, in bytes.
const inputBuffer = 256 << 10

// compressions are those that are known by their first bytes and not supported, with the
// command that decompresses them.
var compressions = []struct{ magic, name, command string }{
	{"\x1f\x8b", "gzip in gzip", "gzip -dc"},
	{"BZh", "bzip2", "bzip2 -dc"},
	{"\xfd7zXZ\x00", "xz", "xz -dc"},
	{"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"},
	{"PK\x03\x04", "zip", "unzip -p"},
}

// plainText returns the UTF-8 text of an input: it decompresses gzip, and skips a byte order
// mark.
func plainText(r io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReaderSize(r, inputBuffer)
	if head, _ := b.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		b = bufio.NewReaderSize(&unzipped{z: z}, inputBuffer)
	}
	head, _ := b.Peek(6)
	for _, c := range compressions {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return nil, fmt.Errorf("%s is not supported: decompress the file, for example with %s FILE | plinth import -", c.name, c.command)
		}
	}
	if bytes.HasPrefix(head, []byte{0xef, 0xbb, 0xbf}) {
		_, _ = b.Discard(3) // they are there
	} else if name := wideEncoding(head); name != "" {
		return nil, fmt.Errorf("%s is not supported: convert the file to UTF-8, for example with iconv -f %s -t UTF-8", strings.TrimRight(name, "BLE"), name)
	}
	return b, nil
}

// wideEncoding returns the name of the encoding of a text that begins with ASCII, for iconv, if
// its characters have two or four bytes. Else it returns "".
func wideEncoding(head []byte) string {
	zero := make([]bool, 4)
	for i := range min(len(head), len(zero)) {
		zero[i] = head[i] == 0
	}
	mark := func(s string) bool { return bytes.HasPrefix(head, []byte(s)) }
	switch {
	case mark("\xff\xfe\x00\x00"), mark("\x00\x00\xfe\xff"):
		return "UTF-32"
	case mark("\xff\xfe"), mark("\xfe\xff"):
		return "UTF-16"
	case len(head) < len(zero):
		return ""
	case zero[0] && zero[1] && zero[2] && !zero[3]:
		return "UTF-32BE"
	case !zero[0] && zero[1] && zero[2] && zero[3]:
		return "UTF-32LE"
	case zero[0] && !zero[1]:
		return "UTF-16BE"
	case !zero[0] && zero[1]:
		return "UTF-16LE"
	}
	return ""
}

// unzipped reads what gzip has compressed, with errors that say so.
type unzipped struct{ z *gzip.Reader }

func (u *unzipped) Read(p []byte) (int, error) {
	n, err := u.z.Read(p)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the gzip data is truncated, or other data follows it: %w", err)
	case errors.Is(err, gzip.ErrHeader):
		err = errors.New("other data follows the gzip data")
	case err != nil && err != io.EOF:
		err = fmt.Errorf("the gzip data is damaged: %w", err)
	}
	return n, err
}

// inWords says of a line that is no item what another program may have made of it. The rest
// of the lines is in r.
func inWords(raw []byte, err error, r *bufio.Reader) error {
	text := bytes.TrimSpace(raw)
	item, comma := bytes.CutSuffix(text, []byte(","))
	_, alone := parseLine(item, false)
	switch {
	case bytes.HasPrefix(text, []byte("{")) && errors.Is(err, io.ErrUnexpectedEOF):
		if _, end := r.Peek(1); end != nil { // it is the last line
			return err
		}
		return errors.New("the object does not end on its line: write each object on one line, for example with jq -c '.'")
	case bytes.Contains(text, []byte("\r")):
		return fmt.Errorf(`%w: its lines end in CR alone: convert them, for example with tr '\r' '\n'`, err)
	case comma && alone == nil:
		return errors.New("a comma follows the object: remove it, or write all items as an array, in [ and ]")
	}
	return err
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
