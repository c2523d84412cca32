package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/plinthkv/plinth/storage"
)

// line is an item of the import and export form.
type line struct {
	key, value []byte
	expiresAt  string // RFC 3339; empty: never
	version    uint64 // of what a scan answers; 0: it has none
}

// wireLine is a line as JSON. Pointers tell absent from empty.
type wireLine struct {
	Key       *string `json:"key"`
	Key64     *string `json:"key64"`
	Value     *string `json:"value"`
	Value64   *string `json:"value64"`
	ExpiresAt *string `json:"expires_at"`
	Version   *string `json:"version"` // in what a scan answers
}

// parseLine reads a line strictly. keysOnly is for scans that leave values out.
func parseLine(raw []byte, keysOnly bool) (l line, err error) {
	if !utf8.Valid(raw) {
		return l, errors.New("not valid UTF-8: bytes go as key64 and value64")
	}
	var w wireLine
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return l, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return l, errors.New("something follows the object")
	}
	if l.key, err = either("key", w.Key, w.Key64); err != nil {
		return l, err
	}
	if l.value, err = either("value", w.Value, w.Value64); err != nil && !keysOnly {
		return l, err
	}
	if w.ExpiresAt != nil {
		if _, err := time.Parse(time.RFC3339, *w.ExpiresAt); err != nil {
			return l, errors.New("expires_at is not a time of RFC 3339, such as 2030-01-31T12:00:00Z")
		}
		l.expiresAt = *w.ExpiresAt
	}
	if w.Version != nil {
		if l.version, err = strconv.ParseUint(*w.Version, 10, 64); err != nil {
			return l, errors.New("version is not a number")
		}
	}
	return l, nil
}

// timeForm is how times are written: RFC 3339, to the millisecond.
const timeForm = "2006-01-02T15:04:05.000Z07:00"

// op is the line as a put. A time before 1970 is as past as any.
func (l line) op() (storage.Op, error) {
	op := storage.Put(l.key, l.value)
	if l.expiresAt == "" {
		return op, nil
	}
	at, err := time.Parse(time.RFC3339, l.expiresAt)
	if err != nil {
		return op, err
	}
	if at.UnixMilli() < 1 {
		at = time.UnixMilli(1)
	}
	op.ExpiresAt = storage.ClampExpiry(at.UTC())
	return op, nil
}

func either(name string, text, b64 *string) ([]byte, error) {
	switch {
	case text != nil && b64 != nil:
		return nil, fmt.Errorf("%s and %s64 exclude each other", name, name)
	case text != nil:
		return []byte(*text), nil
	case b64 != nil:
		b, err := base64.StdEncoding.Strict().DecodeString(*b64)
		if err != nil {
			return nil, fmt.Errorf("%s64 is not base64", name)
		}
		return b, nil
	}
	return nil, fmt.Errorf("no %s", name)
}

// object is a JSON object with its fields in order.
type object []byte

func (o object) field(name string, value any) object {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		panic(err) // only strings and such come here
	}
	if len(o) == 0 {
		o = append(o, '{')
	} else {
		o = append(o[:len(o)-1], ',')
	}
	o = append(append(append(o, '"'), name...), '"', ':')
	return append(append(o, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...), '}')
}

// bytes is a field of text, or one in base64 where it is not text.
func (o object) bytes(name string, value []byte) object {
	if utf8.Valid(value) {
		return o.field(name, string(value))
	}
	return o.field(name+"64", value)
}

// object is the line as an object; more fields may follow.
func (l line) object() object {
	o := object{}.bytes("key", l.key)
	if l.value != nil {
		o = o.bytes("value", l.value)
	}
	if l.expiresAt != "" {
		o = o.field("expires_at", l.expiresAt)
	}
	return o
}

func (l line) writeJSON(w io.Writer) error {
	_, err := w.Write(append(l.object(), '\n'))
	return err
}
