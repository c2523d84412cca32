package postgres

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// own copies what a request shares with its caller, and notes what it is made of.
func (r *request) own() {
	w := r.writes
	copied := func(b []byte) []byte {
		r.size += len(b)
		if b == nil {
			return nil
		}
		return bytes.Clone(b)
	}
	checks := make([]storage.Check, len(w.Checks))
	for i, c := range w.Checks {
		r.ranges = r.ranges || c.Kind == storage.CheckRange
		c.Key, c.End, c.Value = copied(c.Key), copied(c.End), copied(c.Value)
		checks[i] = c
	}
	ops := make([]storage.Op, len(w.Ops))
	for i, o := range w.Ops {
		r.ranges = r.ranges || o.Kind == storage.OpDeleteRange
		r.puts = r.puts && o.Kind == storage.OpPut
		o.Key, o.End, o.Value = copied(o.Key), copied(o.End), copied(o.Value)
		ops[i] = o
	}
	r.puts = r.puts && len(ops) > 0
	w.Checks, w.Ops = checks, ops
}

// millis is at in ms since 1970, rounded up; 0: never.
func millis(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	if at = storage.ClampExpiry(at); at.IsZero() {
		return 0
	}
	return max(at.UnixMilli(), 1)
}

// expiry is a time in ms as the contract has it.
func expiry(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// digestOf is a hash of all that w says, each part with its length before it.
func digestOf(w *storage.WriteSet) [16]byte {
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
		number(uint64(millis(o.ExpiresAt)))
		part(o.Key)
		part(o.End)
		part(o.Value)
	}
	return [16]byte(h.Sum(nil))
}
