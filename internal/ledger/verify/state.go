package verify

import (
	"slices"
	"strings"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// BucketRoot returns the hash of the entities of one bucket, which must be in the order of
// their keys.
func BucketRoot(entities []*ledgerpb.Entity) Hash {
	if len(entities) == 0 {
		return Empty()
	}
	w := newWriter()
	for _, e := range entities {
		w.text(e.GetKey())
		w.lengthed(e.GetValue())
		w.u64be(e.GetExpiresAt())
		w.u64be(e.GetVersion())
	}
	return w.sum()
}

// RootOf returns the state root of 256 bucket roots.
func RootOf(buckets []Hash) Hash {
	w := newWriter()
	for i := range buckets {
		w.bytes(buckets[i][:])
	}
	return w.sum()
}

// StateRoot returns the state root of a vault with exactly these entities, in any order. They
// must include those of the server itself, and expired ones that still exist.
func StateRoot(entities []*ledgerpb.Entity) Hash {
	var buckets [Buckets][]*ledgerpb.Entity
	for _, e := range entities {
		b := Bucket(e.GetKey())
		buckets[b] = append(buckets[b], e)
	}
	roots := make([]Hash, Buckets)
	for i, b := range buckets {
		slices.SortFunc(b, func(x, y *ledgerpb.Entity) int { return strings.Compare(x.GetKey(), y.GetKey()) })
		roots[i] = BucketRoot(b)
	}
	return RootOf(roots)
}
