package abi

import (
	"github.com/plinthkv/plinth/storage"
)

// WriteSet: 1 bytes id, 2 repeated Check checks, 3 repeated Op ops.
const (
	setID     = 1<<3 | wireBytes
	setCheck  = 2<<3 | wireBytes
	setOp     = 3<<3 | wireBytes
	setFields = 1<<1 | 1<<2 | 1<<3
)

// Check: 1 CheckKind kind, 2 bytes key, 3 optional bytes end, 4 bytes value,
// 5 uint64 version. Op: the same up to value, 5 int64 expires_at.
const (
	partKind    = 1<<3 | wireVarint
	partKey     = 2<<3 | wireBytes
	partEnd     = 3<<3 | wireBytes
	partValue   = 4<<3 | wireBytes
	partVersion = 5<<3 | wireVarint
	partExpires = 5<<3 | wireVarint
	partFields  = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5
)

// AppendWriteSet appends the request of an Apply.
func AppendWriteSet(dst []byte, w *storage.WriteSet) []byte {
	dst = appendID(dst, setID, &w.ID)
	for i := range w.Checks {
		c := &w.Checks[i]
		dst = appendLen(dst, setCheck, sizeUint(uint64(c.Kind))+sizePlain(len(c.Key))+sizeOptional(c.End)+
			sizePlain(len(c.Value))+sizeUint(c.Version))
		dst = appendUint(dst, partKind, uint64(c.Kind))
		dst = appendPlain(dst, partKey, c.Key)
		dst = appendOptional(dst, partEnd, c.End)
		dst = appendPlain(dst, partValue, c.Value)
		dst = appendUint(dst, partVersion, c.Version)
	}
	for i := range w.Ops {
		o := &w.Ops[i]
		expires := fromTime(o.ExpiresAt)
		dst = appendLen(dst, setOp, sizeUint(uint64(o.Kind))+sizePlain(len(o.Key))+sizeOptional(o.End)+
			sizePlain(len(o.Value))+sizeUint(expires))
		dst = appendUint(dst, partKind, uint64(o.Kind))
		dst = appendPlain(dst, partKey, o.Key)
		dst = appendOptional(dst, partEnd, o.End)
		dst = appendPlain(dst, partValue, o.Value)
		dst = appendUint(dst, partExpires, expires)
	}
	return dst
}

// DecodeWriteSet reads the request of an Apply, over the capacity of w.Checks and w.Ops.
// Keys, ends and values are views. It accepts unknown kinds, which
// [storage.WriteSet.Validate] refuses.
func DecodeWriteSet(b []byte, w *storage.WriteSet) error {
	checks, ops := w.Checks[:0], w.Ops[:0]
	w.ID = [16]byte{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("write set", at, next)
			}
		}
		var part []byte
		var err error
		switch tag {
		case setID:
			w.ID, i = id(b, next)
		case setCheck:
			if len(checks) == cap(checks) {
				n, _, err := countTwo(b, "write set", setCheck, setOp)
				if err != nil {
					return err
				}
				checks = room(checks, n)
			}
			if part, i = field(b, next); i >= 0 {
				checks = checks[:len(checks)+1]
				err = decodeCheck(part, &checks[len(checks)-1])
			}
		case setOp:
			if len(ops) == cap(ops) {
				_, n, err := countTwo(b, "write set", setCheck, setOp)
				if err != nil {
					return err
				}
				ops = room(ops, n)
			}
			if part, i = field(b, next); i >= 0 {
				ops = ops[:len(ops)+1]
				err = decodeOp(part, &ops[len(ops)-1])
			}
		default:
			i = skip(b, next, tag, setFields)
		}
		if i < 0 {
			return malformed("write set", at, i)
		}
		if err != nil {
			return inside("write set", at, err)
		}
	}
	w.Checks, w.Ops = checks, ops
	return bounded("write set", len(checks)+len(ops))
}

func decodeCheck(b []byte, c *storage.Check) error {
	*c = storage.Check{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("check", at, next)
			}
		}
		switch tag {
		case partKind:
			var k uint8
			k, i = kind(b, next)
			c.Kind = storage.CheckKind(k)
		case partKey:
			c.Key, i = plain(b, next)
		case partEnd:
			c.End, i = field(b, next)
		case partValue:
			c.Value, i = plain(b, next)
		case partVersion:
			c.Version, i = uvarint(b, next)
		default:
			i = skip(b, next, tag, partFields)
		}
		if i < 0 {
			return malformed("check", at, i)
		}
	}
	return nil
}

func decodeOp(b []byte, o *storage.Op) error {
	*o = storage.Op{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("op", at, next)
			}
		}
		switch tag {
		case partKind:
			var k uint8
			k, i = kind(b, next)
			o.Kind = storage.OpKind(k)
		case partKey:
			o.Key, i = plain(b, next)
		case partEnd:
			o.End, i = field(b, next)
		case partValue:
			o.Value, i = plain(b, next)
		case partExpires:
			o.ExpiresAt, i = expiry(b, next)
		default:
			i = skip(b, next, tag, partFields)
		}
		if i < 0 {
			return malformed("op", at, i)
		}
	}
	return nil
}
