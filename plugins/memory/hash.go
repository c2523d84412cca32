//go:build !wasip1

package memory

import "hash/maphash"

// seed makes hashes of keys unpredictable, so that callers cannot choose keys that collide.
type seed = maphash.Seed

func makeSeed() seed { return maphash.MakeSeed() }

func (x *index) hash(key []byte) uint64 { return maphash.Bytes(x.seed, key) }
