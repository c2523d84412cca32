package memory

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/plinthkv/plinth/storage"
)

// idsKept is how many of the latest IDs are remembered.
const idsKept = 65536

// ids remembers what the latest identified write sets were and answered.
type ids struct {
	seen map[[16]byte]answer
	ring [][16]byte
	next int // the oldest of a full ring
}

type answer struct {
	digest  [16]byte
	version uint64
}

// find tells w's digest, and the version that it was answered with when it was
// applied before; 0: it was not. Another content under its ID is InvalidArgument.
func (s *ids) find(w *storage.WriteSet) (digest [16]byte, version uint64, err error) {
	if w.ID == [16]byte{} {
		return digest, 0, nil
	}
	digest = digestOf(w)
	a, ok := s.seen[w.ID]
	if ok && a.digest != digest {
		return digest, 0, storage.Errorf(storage.InvalidArgument, "the ID of the write set was used for another content")
	}
	return digest, a.version, nil
}

func (s *ids) keep(id, digest [16]byte, version uint64) {
	if id == [16]byte{} {
		return
	}
	if s.seen == nil {
		s.seen = map[[16]byte]answer{}
	}
	if len(s.ring) < idsKept {
		s.ring = append(s.ring, id)
	} else {
		delete(s.seen, s.ring[s.next])
		s.ring[s.next] = id
		s.next = (s.next + 1) % idsKept
	}
	s.seen[id] = answer{digest, version}
}

// seeds make digests that nobody outside can aim at; they live as long as the IDs.
var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// digestOf is a hash of all that w says, each part with its length before it.
func digestOf(w *storage.WriteSet) (d [16]byte) {
	for i, seed := range seeds {
		var h maphash.Hash
		h.SetSeed(seed)
		hashInto(&h, w)
		binary.LittleEndian.PutUint64(d[8*i:], h.Sum64())
	}
	return d
}

func hashInto(h *maphash.Hash, w *storage.WriteSet) {
	number(h, uint64(len(w.Checks)))
	for i := range w.Checks {
		c := &w.Checks[i]
		number(h, uint64(c.Kind))
		number(h, c.Version)
		part(h, c.Key)
		part(h, c.End)
		part(h, c.Value)
	}
	for i := range w.Ops {
		o := &w.Ops[i]
		number(h, uint64(o.Kind))
		number(h, uint64(millis(o.ExpiresAt)))
		part(h, o.Key)
		part(h, o.End)
		part(h, o.Value)
	}
}

func number(h *maphash.Hash, n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	h.Write(b[:])
}

// part tells nil, an unbounded end, from empty.
func part(h *maphash.Hash, b []byte) {
	if b == nil {
		number(h, 0)
		return
	}
	number(h, uint64(len(b))+1)
	h.Write(b)
}
