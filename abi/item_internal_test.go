package abi

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// A varint is the same whether it is written at once or byte by byte.
func TestPutUvarint(t *testing.T) {
	check := func(v uint64) {
		t.Helper()
		b := make([]byte, 11)
		if got, want := b[:putUvarint(b, v)], binary.AppendUvarint(nil, v); !bytes.Equal(got, want) {
			t.Fatalf("%#x is %x, want %x", v, got, want)
		}
	}
	for n := range 65 {
		edge := uint64(1)<<n - 1
		check(edge)
		check(edge + 1)
		for range 1000 {
			v := rand.Uint64() >> (64 - max(n, 1))
			check(v)
			check(bits.Reverse64(v))
		}
	}
}
