package etcd

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// What is in the cluster: the prefix, a colon and one of these. A prefix has no colon, so
// that no store's keys are among those of another whose prefix is longer.
const (
	spaceMarker = 'm' // what the store is
	spaceMoved  = 'v' // put where nothing else is, for the version to move
	spaceData   = 'd' // then the key of an item
	spaceID     = 'i' // then the ID of a write set that was done
)

// header is what stands before a value: when it expires in ms, as a big-endian number, so
// that compares of values compare deadlines, and a byte, so that no value is as short as
// such a number.
const (
	header = 9
	plain  = 1
	never  = math.MaxInt64
)

// space is where the keys of a store are.
type space struct {
	marker []byte
	moved  []byte
	data   []byte // what keys of items begin with
	end    []byte // the first key after them
	id     []byte
}

func newSpace(prefix string) space {
	at := func(kind byte) []byte { return append([]byte(prefix+":"), kind) }
	return space{marker: at(spaceMarker), moved: at(spaceMoved), data: at(spaceData), end: at(spaceData + 1), id: at(spaceID)}
}

// key returns where the item of a key is.
func (s *space) key(key []byte) []byte {
	k := make([]byte, 0, len(s.data)+len(key))
	return append(append(k, s.data...), key...)
}

// bounds returns those of a range of keys; nil end: unbounded.
func (s *space) bounds(start, end []byte) (from, to []byte) {
	if end == nil {
		return s.key(start), s.end
	}
	return s.key(start), s.key(end)
}

// own returns the key of an item, without what stands before it. It is a view.
func (s *space) own(key []byte) []byte { return key[len(s.data):] }

func (s *space) idKey(id [16]byte) []byte {
	k := make([]byte, 0, len(s.id)+len(id))
	return append(append(k, s.id...), id[:]...)
}

// encode returns a value as it is stored; with at 0 it never expires.
func encode(value []byte, at int64) []byte {
	if at == 0 {
		at = never
	}
	b := make([]byte, header, header+len(value))
	binary.BigEndian.PutUint64(b, uint64(at))
	b[header-1] = plain
	return append(b, value...)
}

// record is an item's value as it is stored.
type record []byte

func (r record) at() int64           { return int64(binary.BigEndian.Uint64(r)) }
func (r record) live(now int64) bool { return r.at() > now }
func (r record) value() []byte       { return r[header:len(r):len(r)] }

// expiry returns when the item expires, as the contract has it.
func (r record) expiry() time.Time {
	if r.at() == never {
		return time.Time{}
	}
	return time.UnixMilli(r.at()).UTC()
}

// read returns what the cluster has under a key of items, or why it cannot be.
func read(b []byte) (record, error) {
	if len(b) < header || b[header-1] != plain {
		return nil, storage.Errorf(storage.Internal, "a key of the store's prefix holds %d bytes that are no item: another program writes there", len(b))
	}
	return b, nil
}

// after returns what every live value is greater than at a time in ms, and every expired one
// less.
func after(now int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(now+1)) }
