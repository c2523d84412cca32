package memory

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/plinthkv/plinth/storage"
)

// idsKept is how many of the latest IDs are remembered.
const idsKept = 65536

// ids remembers what the latest identified write sets were and answered: a ring of
// them, and for each hash of an ID the latest that has it. Both are made at once, for
// all that there may be.
type ids struct {
	ring  []answer
	first []uint32 // 1 + where in the ring; 0: none
	n     int      // how many there are
	next  int      // the oldest of a full ring
}

type answer struct {
	id, digest [16]byte
	version    uint64
	older      uint32 // the one of this hash that came before: 1 + where
}

// bucket returns the bucket of an ID by its hash: callers may choose IDs that are not random.
func (s *ids) bucket(id *[16]byte) *uint32 {
	return &s.first[maphash.Bytes(seeds[0], id[:])%idsKept]
}

// find tells w's digest, and the version that it was answered with when it was
// applied before; 0: it was not. Another content under its ID is InvalidArgument.
func (s *ids) find(w *storage.WriteSet) (digest [16]byte, version uint64, err error) {
	if w.ID == [16]byte{} {
		return digest, 0, nil
	}
	digest = digestOf(w)
	if s.n == 0 {
		return digest, 0, nil
	}
	for at := *s.bucket(&w.ID); at != 0; at = s.ring[at-1].older {
		if a := &s.ring[at-1]; a.id == w.ID {
			if a.digest != digest {
				return digest, 0, storage.Errorf(storage.InvalidArgument, "the ID of the write set was used for another content")
			}
			return digest, a.version, nil
		}
	}
	return digest, 0, nil
}

func (s *ids) keep(id, digest [16]byte, version uint64) {
	if id == [16]byte{} {
		return
	}
	if s.ring == nil {
		s.ring, s.first = make([]answer, idsKept), make([]uint32, idsKept)
	}
	if s.n == idsKept {
		s.forget(uint32(s.next) + 1)
	} else {
		s.n++
	}
	first := s.bucket(&id)
	s.ring[s.next] = answer{id, digest, version, *first}
	*first = uint32(s.next) + 1
	s.next = (s.next + 1) % idsKept
}

// forget takes one out of the list of its hash, of which it is the oldest.
func (s *ids) forget(at uint32) {
	link := s.bucket(&s.ring[at-1].id)
	for *link != at {
		link = &s.ring[*link-1].older
	}
	*link = 0
}

// held returns the bytes of it.
func (s *ids) held() int64 { return int64(len(s.ring))*48 + int64(len(s.first))*4 }

// seeds make digests that callers cannot aim at; they live as long as the IDs.
var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// digestOf returns a hash of all that w says, each part with its length before it.
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
