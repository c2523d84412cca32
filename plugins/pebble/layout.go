package pebble

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/plinthkv/plinth/storage"
)

// What is in the engine, by the first byte of its keys. The format number is in there
// too: whoever changes any of it counts that up.
const (
	spaceMeta     = 'm' // facts about the store: name → value
	spaceData     = 'd' // items: key → version, expiry, value
	spaceDeadline = 'x' // deadline, key → nothing: where items expire, or did before they were replaced
	spaceID       = 'i' // an ID that was used: ID → digest, version, number in the row of all
	spaceChange   = 'c' // the log of changes: version → what it changed
	spacePart     = 'p' // complete parts of the log: version before them → when they began, bytes
	spaceGap      = 'g' // gaps in the log: first version after → last one before
)

// formatPlain is the number of this layout without a log of changes, and format with one:
// who knows of no log must not write to a store that has one.
const (
	formatPlain = 1
	format      = 2
)

var (
	metaFormat      = []byte("mformat")
	metaIncarnation = []byte("mincarnation")
	metaVersion     = []byte("mversion")  // of the last write
	metaReserved    = []byte("mreserved") // no version up to this one may be given again
	metaChanges     = []byte("mchanges")  // the version before the first change that is kept; absent: there is no log
	metaClean       = []byte("mclean")    // it was closed, and nothing was written since
)

// header is the size of what precedes a value: its version, and its expiry in ms, 0 if it has none.
const header = 16

// dataKey returns where the item of a key is, appended to dst.
func dataKey(dst, key []byte) []byte { return append(append(dst, spaceData), key...) }

// dataBounds returns those of a range of keys; nil end: unbounded.
func dataBounds(start, end []byte) (lower, upper []byte) {
	lower = dataKey(nil, start)
	if end == nil {
		return lower, []byte{spaceData + 1}
	}
	return lower, dataKey(nil, end)
}

// record is an item as it is stored.
type record []byte

func (r record) version() uint64 { return binary.BigEndian.Uint64(r) }
func (r record) expires() int64  { return int64(binary.BigEndian.Uint64(r[8:])) }
func (r record) value() []byte   { return r[header:] }

// live reports whether the item is there at a time in ms.
func (r record) live(now int64) bool { return r.expires() == 0 || r.expires() > now }

// readRecord returns what the engine has under a key of items, or why it cannot be.
func readRecord(b []byte) (record, error) {
	if len(b) < header {
		return nil, storage.Errorf(storage.Internal, "an item of %d bytes is in the store, where there are at least %d: it is damaged", len(b), header)
	}
	return b, nil
}

// deadlineKey returns the entry of an item that expires.
func deadlineKey(at int64, key []byte) []byte {
	b := make([]byte, 0, 9+len(key))
	b = append(b, spaceDeadline)
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	return append(b, key...)
}

// readDeadline returns what an entry says.
func readDeadline(b []byte) (at int64, key []byte, err error) {
	if len(b) < 9 || b[0] != spaceDeadline {
		return 0, nil, storage.Errorf(storage.Internal, "an entry of the index of deadlines is damaged")
	}
	return int64(binary.BigEndian.Uint64(b[1:])), b[9:], nil
}

// number returns a fact that is a number, or 0 if there is none.
func number(r pebble.Reader, key []byte) (uint64, error) {
	b, ok, err := fact(r, key)
	switch {
	case err != nil || !ok:
		return 0, err
	case len(b) != 8:
		return 0, fmt.Errorf("%s in the store is damaged", key[1:])
	}
	return binary.BigEndian.Uint64(b), nil
}

func eight(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// fact reads a fact about the store.
func fact(r pebble.Reader, key []byte) ([]byte, bool, error) {
	b, closer, err := r.Get(key)
	switch {
	case err == pebble.ErrNotFound:
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	own := append([]byte(nil), b...)
	return own, true, closer.Close()
}
