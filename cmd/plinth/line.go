package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

// line is an item of the import and export form.
type line struct {
	key, value []byte
	expiresAt  string // RFC 3339; empty: never
	version    uint64 // of what a scan answers; 0: it has none
}

// lineValues is how many values a line has at most, with the object.
const lineValues = 8

// parseLine reads a line as strictly as a server reads it. keysOnly is for scans that leave
// values out.
func parseLine(raw []byte, keysOnly bool) (l line, err error) {
	o, err := strictjson.Parse(raw, lineValues)
	if err != nil {
		return l, err
	}
	if err := o.Only("key", "key64", "value", "value64", "expires_at", "version"); err != nil { // the last in what a scan answers
		return l, err
	}
	if l.key, err = o.Need("key"); err != nil {
		return l, err
	}
	value := o.Need
	if keysOnly {
		value = o.Bytes
	}
	if l.value, err = value("value"); err != nil {
		return l, err
	}
	if o.Has("expires_at") {
		if l.expiresAt, err = o.Text("expires_at"); err != nil {
			return l, err
		}
		if _, err := time.Parse(time.RFC3339, l.expiresAt); err != nil {
			return l, errors.New("expires_at is not a time of RFC 3339, such as 2030-01-31T12:00:00Z")
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
