package memory

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// seed makes hashes of keys unpredictable, so that callers cannot choose keys that collide.
type seed [2]uint64

func makeSeed() (s seed) {
	for i := range s {
		s[i] = maphash.String(maphash.MakeSeed(), "")
	}
	return s
}

// hash is SipHash-1-3. Modules have neither the instructions for AES nor the product of two words
// in two, on which the runtime's own hash is built: there it takes twice as long.
func (x *index) hash(key []byte) uint64 {
	k0, k1 := x.seed[0], x.seed[1]
	a, b, c, d := k0^0x736f6d6570736575, k1^0x646f72616e646f6d, k0^0x6c7967656e657261, k1^0x7465646279746573
	word := uint64(len(key)) << 56
	for ; len(key) >= 8; key = key[8:] {
		m := binary.LittleEndian.Uint64(key)
		a, b, c, d = sipRound(a, b, c, d^m)
		a ^= m
	}
	for i, x := range key {
		word |= uint64(x) << (8 * i)
	}
	a, b, c, d = sipRound(a, b, c, d^word)
	a, b, c, d = sipRound(a^word, b, c^0xff, d)
	a, b, c, d = sipRound(a, b, c, d)
	a, b, c, d = sipRound(a, b, c, d)
	return a ^ b ^ c ^ d
}

func sipRound(a, b, c, d uint64) (uint64, uint64, uint64, uint64) {
	a += b
	c += d
	b = bits.RotateLeft64(b, 13) ^ a
	d = bits.RotateLeft64(d, 16) ^ c
	a = bits.RotateLeft64(a, 32) + d
	c += b
	d = bits.RotateLeft64(d, 21) ^ a
	b = bits.RotateLeft64(b, 17) ^ c
	return a, b, bits.RotateLeft64(c, 32), d
}
