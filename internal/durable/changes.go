package durable

import (
	"encoding/binary"

	"github.com/plinthkv/plinth/storage"
)

// AppendChange appends an op to a record of changes. What had expired when it was put, at now
// in ms, is a delete.
func AppendChange(dst []byte, o *storage.Op, now int64) []byte {
	at := Millis(o.ExpiresAt)
	kind := storage.OpChange(o, 0).Kind
	if kind == storage.ChangePut && at != 0 && at <= now {
		kind = storage.ChangeDelete
	}
	dst = append(dst, byte(kind))
	dst = append(binary.AppendUvarint(dst, uint64(len(o.Key))), o.Key...)
	switch {
	case kind == storage.ChangePut:
		dst = binary.AppendUvarint(dst, uint64(at))
		dst = append(binary.AppendUvarint(dst, uint64(len(o.Value))), o.Value...)
	case kind == storage.ChangeDeleteRange && o.End == nil:
		dst = append(dst, 0)
	case kind == storage.ChangeDeleteRange:
		dst = append(dst, 1)
		dst = append(binary.AppendUvarint(dst, uint64(len(o.End))), o.End...)
	}
	return dst
}

// AppendExpiry appends to a record that the item at key has expired.
func AppendExpiry(dst, key []byte) []byte {
	dst = append(dst, byte(storage.ChangeExpired))
	return append(binary.AppendUvarint(dst, uint64(len(key))), key...)
}

// ReadChanges appends the changes of a record, which share its bytes.
func ReadChanges(dst []storage.Change, record []byte, version uint64) ([]storage.Change, error) {
	r := recordReader{left: record}
	for len(r.left) > 0 && !r.bad {
		c := storage.Change{Version: version, Kind: storage.ChangeKind(r.byte())}
		c.Key = r.bytes()
		switch c.Kind {
		case storage.ChangePut:
			c.ExpiresAt = Expiry(int64(r.number()))
			c.Value = r.bytes()
		case storage.ChangeDeleteRange:
			if r.byte() == 1 {
				c.End = r.bytes()
			}
		case storage.ChangeDelete, storage.ChangeExpired:
		default:
			r.bad = true
		}
		dst = append(dst, c)
	}
	if r.bad {
		return nil, storage.Errorf(storage.Internal, "a record of the log of changes is damaged")
	}
	return dst, nil
}

// recordReader reads a record, of which nothing is believed.
type recordReader struct {
	left []byte
	bad  bool
}

func (r *recordReader) byte() byte {
	if len(r.left) == 0 {
		r.bad = true
		return 0
	}
	b := r.left[0]
	r.left = r.left[1:]
	return b
}

func (r *recordReader) number() uint64 {
	n, size := binary.Uvarint(r.left)
	if size <= 0 {
		r.bad = true
		return 0
	}
	r.left = r.left[size:]
	return n
}

func (r *recordReader) bytes() []byte {
	n := r.number()
	if r.bad || n > uint64(len(r.left)) {
		r.bad = true
		return nil
	}
	b := r.left[:n:n]
	r.left = r.left[n:]
	return b
}
