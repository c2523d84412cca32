package abi

import (
	"time"

	"github.com/plinthkv/plinth/storage"
)

// ChangesRequest: 1 bytes start, 2 optional bytes end, 3 uint64 after, 4 bool from_now,
// 5 uint64 limit, 6 uint64 max_bytes, 7 uint64 wait_ms.
const (
	changesStart    = 1<<3 | wireBytes
	changesEnd      = 2<<3 | wireBytes
	changesAfter    = 3<<3 | wireVarint
	changesFromNow  = 4<<3 | wireVarint
	changesLimit    = 5<<3 | wireVarint
	changesMaxBytes = 6<<3 | wireVarint
	changesWait     = 7<<3 | wireVarint
	changesFields   = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7
)

// ChangePage: 1 repeated Change changes, 2 uint64 next.
const (
	changePageChange = 1<<3 | wireBytes
	changePageNext   = 2<<3 | wireVarint
	changePageFields = 1<<1 | 1<<2
)

// Change: 1 ChangeKind kind, 2 bytes key, 3 optional bytes end, 4 bytes value,
// 5 int64 expires_at, 6 uint64 version: up to expires_at as an Op.
const (
	changeVersion = 6<<3 | wireVarint
	changeFields  = partFields | 1<<6
)

// AppendChangeQuery appends the request of changes. A nil End is left out; negative limits
// and waits are sent as 0. A wait is rounded up to a millisecond.
func AppendChangeQuery(dst []byte, q *storage.ChangeQuery) []byte {
	dst = appendPlain(dst, changesStart, q.Start)
	dst = appendOptional(dst, changesEnd, q.End)
	dst = appendUint(dst, changesAfter, q.After)
	dst = appendBool(dst, changesFromNow, q.FromNow)
	dst = appendUint(dst, changesLimit, fromInt(q.Limit))
	dst = appendUint(dst, changesMaxBytes, fromInt(q.MaxBytes))
	return appendUint(dst, changesWait, fromDuration(q.Wait))
}

// DecodeChangeQuery reads the request of changes. Start and End are views; limits larger
// than an int or a duration are the largest one.
func DecodeChangeQuery(b []byte, q *storage.ChangeQuery) error {
	*q = storage.ChangeQuery{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("changes", at, next)
			}
		}
		var v uint64
		switch tag {
		case changesStart:
			q.Start, i = plain(b, next)
		case changesEnd:
			q.End, i = field(b, next)
		case changesAfter:
			q.After, i = uvarint(b, next)
		case changesFromNow:
			v, i = uvarint(b, next)
			q.FromNow = v != 0
		case changesLimit:
			v, i = uvarint(b, next)
			q.Limit = toInt(v)
		case changesMaxBytes:
			v, i = uvarint(b, next)
			q.MaxBytes = toInt(v)
		case changesWait:
			v, i = uvarint(b, next)
			q.Wait = toDuration(v)
		default:
			i = skip(b, next, tag, changesFields)
		}
		if i < 0 {
			return malformed("changes", at, i)
		}
	}
	return nil
}

func sizeChange(c *storage.Change) int {
	return sizeUint(uint64(c.Kind)) + sizePlain(len(c.Key)) + sizeOptional(c.End) + sizePlain(len(c.Value)) +
		sizeUint(fromTime(c.ExpiresAt)) + sizeUint(c.Version)
}

// AppendChangePage appends a page of changes.
func AppendChangePage(dst []byte, p *storage.ChangePage) []byte {
	for i := range p.Changes {
		c := &p.Changes[i]
		dst = appendLen(dst, changePageChange, sizeChange(c))
		dst = appendUint(dst, partKind, uint64(c.Kind))
		dst = appendPlain(dst, partKey, c.Key)
		dst = appendOptional(dst, partEnd, c.End)
		dst = appendPlain(dst, partValue, c.Value)
		dst = appendUint(dst, partExpires, fromTime(c.ExpiresAt))
		dst = appendUint(dst, changeVersion, c.Version)
	}
	return appendUint(dst, changePageNext, p.Next)
}

// ChangeSize returns how many bytes a change adds to a page.
func ChangeSize(c *storage.Change) int { return sizeBytes(sizeChange(c)) }

// ChangePageSize returns how many bytes [AppendChangePage] appends.
func ChangePageSize(p *storage.ChangePage) int {
	n := sizeUint(p.Next)
	for i := range p.Changes {
		n += ChangeSize(&p.Changes[i])
	}
	return n
}

// DecodeChangePage reads a page of changes, over the capacity of p.Changes. Keys, ends and
// values are views, nil where they are empty, but for ends. Unknown kinds come through.
func DecodeChangePage(b []byte, p *storage.ChangePage) error {
	changes := p.Changes[:0]
	*p = storage.ChangePage{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("change page", at, next)
			}
		}
		switch tag {
		case changePageChange:
			if len(changes) == cap(changes) {
				n, err := count(b, "change page", changePageChange)
				if err != nil {
					return err
				}
				changes = room(changes, n)
			}
			var part []byte
			if part, i = field(b, next); i >= 0 {
				changes = changes[:len(changes)+1]
				if err := decodeChange(part, &changes[len(changes)-1]); err != nil {
					return inside("change page", at, err)
				}
			}
		case changePageNext:
			p.Next, i = uvarint(b, next)
		default:
			i = skip(b, next, tag, changePageFields)
		}
		if i < 0 {
			return malformed("change page", at, i)
		}
	}
	p.Changes = changes
	return bounded("change page", len(changes))
}

func decodeChange(b []byte, c *storage.Change) error {
	*c = storage.Change{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("change", at, next)
			}
		}
		switch tag {
		case partKind:
			var k uint8
			k, i = kind(b, next)
			c.Kind = storage.ChangeKind(k)
		case partKey:
			c.Key, i = plain(b, next)
		case partEnd:
			c.End, i = field(b, next)
		case partValue:
			c.Value, i = plain(b, next)
		case partExpires:
			var t time.Time
			t, i = expiry(b, next)
			c.ExpiresAt = t
		case changeVersion:
			c.Version, i = uvarint(b, next)
		default:
			i = skip(b, next, tag, changeFields)
		}
		if i < 0 {
			return malformed("change", at, i)
		}
	}
	return nil
}
