package verify

import "encoding/binary"

// Seahash returns the hash by which the server distributes entities over buckets.
func Seahash(data []byte) uint64 {
	a, b, c, d := uint64(0x16f11fe89b0d677c), uint64(0xb480a793d8e6c86c), uint64(0x6fe2e5aaf078ebc9), uint64(0x14f994a4c5259381)
	length := uint64(len(data))
	for len(data) > 0 {
		var chunk [8]byte
		data = data[copy(chunk[:], data):]
		a, b, c, d = b, c, d, diffuse(a^binary.LittleEndian.Uint64(chunk[:]))
	}
	return diffuse(a ^ b ^ c ^ d ^ length)
}

func diffuse(x uint64) uint64 {
	const p = 0x6eed0e9da4d94a4f
	x *= p
	x ^= (x >> 32) >> (x >> 60)
	return x * p
}

// Bucket returns the index of the bucket of an entity, below [Buckets].
func Bucket(entity string) int { return int(Seahash([]byte(entity)) % Buckets) }

// Buckets is the number of buckets.
const Buckets = 256
