// Package durable is what backends that outlive their process write down alike: expiries,
// and digests of identified write sets, which have to be the same after a restart.
//
// What belongs here are forms of the contract's values, and no engine.
package durable

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Millis returns an expiry in ms since 1970, at least 1, or 0 for none.
func Millis(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	if at = storage.ClampExpiry(at); at.IsZero() {
		return 0
	}
	return max(at.UnixMilli(), 1)
}

// Expiry returns a time in ms as the contract has it.
func Expiry(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Digest returns a hash of all that w says, each part with its length before it.
func Digest(w *storage.WriteSet) [16]byte {
	h := sha256.New()
	var n [8]byte
	number := func(v uint64) {
		binary.BigEndian.PutUint64(n[:], v)
		h.Write(n[:])
	}
	part := func(b []byte) { // nil, an unbounded end, is not empty
		if b == nil {
			number(0)
			return
		}
		number(uint64(len(b)) + 1)
		h.Write(b)
	}
	number(uint64(len(w.Checks)))
	for i := range w.Checks {
		c := &w.Checks[i]
		number(uint64(c.Kind))
		number(c.Version)
		part(c.Key)
		part(c.End)
		part(c.Value)
	}
	for i := range w.Ops {
		o := &w.Ops[i]
		number(uint64(o.Kind))
		number(uint64(Millis(o.ExpiresAt)))
		part(o.Key)
		part(o.End)
		part(o.Value)
	}
	return [16]byte(h.Sum(nil))
}
