package main

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/plinthkv/plinth/internal/strictjson"
	"github.com/plinthkv/plinth/storage"
)

// line is an item of the import and export form.
type line struct {
	key, value []byte
	expiresAt  string // RFC 3339; empty for none
	version    uint64 // of an item of a scan; 0 if it has none
}

// lineValues limits the values of a line, with the object.
const lineValues = 8

// parseLine reads a line as strictly as a server reads it. keysOnly is for scans that leave
// values out.
func parseLine(raw []byte, keysOnly bool) (l line, err error) {
	o, err := strictjson.Parse(raw, lineValues)
	if err != nil {
		return l, err
	}
	if err := o.Only("key", "key64", "value", "value64", "expires_at", "version"); err != nil { // the last in what a scan returns
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
			return l, errors.New("expires_at must be an RFC 3339 time, such as 2030-01-31T12:00:00Z")
		}
	}
	if o.Has("version") {
		text, err := o.Text("version")
		if err != nil {
			return l, err
		}
		if l.version, err = strconv.ParseUint(text, 10, 64); err != nil {
			return l, errors.New("version must be a number in quotes")
		}
	}
	return l, nil
}

// op returns the line as a put. A time before 1970 is as past as any.
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

func (l line) writeJSON(to io.Writer) error {
	w := strictjson.NewWriter(to)
	w.Bytes("key", l.key)
	if l.value != nil {
		w.Bytes("value", l.value)
	}
	if l.expiresAt != "" {
		w.Text("expires_at", l.expiresAt)
	}
	return w.End()
}
