//go:build !wasip1

package memory

import "hash/maphash"

// seed is what hashes of keys depend on, so that nobody can choose keys with the same one.
type seed = maphash.Seed

func makeSeed() seed { return maphash.MakeSeed() }

func (x *index) hash(key []byte) uint64 { return maphash.Bytes(x.seed, key) }
