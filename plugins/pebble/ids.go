package pebble

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/plinthkv/plinth/storage"
)

// idsKept limits how many of the latest IDs are remembered, also over a restart.
const idsKept = 65536

// ids remembers the latest write sets with an ID, and their outcomes. It belongs to the
// leader of the queue.
type ids struct {
	known map[[16]byte]answer
	row   [][16]byte // oldest first, from head on
	head  int
	next  uint64 // number in the row of all that there ever were
}

type answer struct {
	digest  [16]byte
	version uint64
	number  uint64
}

// load reads those that are in the store.
func (s *ids) load(r pebble.Reader) error {
	s.known = map[[16]byte]answer{}
	iter, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceID}, UpperBound: []byte{spaceID + 1}})
	if err != nil {
		return err
	}
	defer iter.Close()
	for ok := iter.First(); ok; ok = iter.Next() {
		value, err := iter.ValueAndErr()
		if err != nil {
			return err
		}
		if len(iter.Key()) != 17 || len(value) != 32 {
			return fmt.Errorf("an ID in the store is damaged")
		}
		id := [16]byte(iter.Key()[1:])
		a := answer{digest: [16]byte(value), version: binary.BigEndian.Uint64(value[16:]), number: binary.BigEndian.Uint64(value[24:])}
		s.known[id] = a
		s.row = append(s.row, id)
		s.next = max(s.next, a.number+1)
	}
	slices.SortFunc(s.row, func(a, b [16]byte) int { return cmp.Compare(s.known[a].number, s.known[b].number) })
	return iter.Error()
}

// find returns the version of an applied write set with that ID, or 0 if there was none.
func (s *ids) find(id, digest [16]byte) (uint64, error) {
	a, ok := s.known[id]
	switch {
	case !ok || id == [16]byte{}:
		return 0, nil
	case a.digest != digest:
		return 0, storage.Errorf(storage.InvalidArgument, "the ID of the write set was used for another content")
	}
	return a.version, nil
}

// keep remembers one, in the same batch as what it did.
func (s *ids) keep(batch *pebble.Batch, id, digest [16]byte, version uint64) {
	if id == [16]byte{} {
		return
	}
	if len(s.row)-s.head >= idsKept {
		oldest := s.row[s.head]
		s.head++
		delete(s.known, oldest)
		_ = batch.Delete(idKey(oldest), nil) // a batch takes it
	}
	if s.head > idsKept {
		s.row = append(s.row[:0], s.row[s.head:]...)
		s.head = 0
	}
	a := answer{digest, version, s.next}
	s.next++
	s.known[id] = a
	s.row = append(s.row, id)
	value := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(append(make([]byte, 0, 32), digest[:]...), version), a.number)
	_ = batch.Set(idKey(id), value, nil) // a batch takes it
}

func idKey(id [16]byte) []byte { return append([]byte{spaceID}, id[:]...) }
