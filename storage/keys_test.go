package storage_test

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/storage"
)

func TestPrefixEnd(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"a", "b"}, {"ab", "ac"}, {"a\xff", "b"}, {"a\xff\xff", "b"}, {"a\x00", "a\x01"}, {"\xfe", "\xff"}, {"\xfe\xff", "\xff"},
	} {
		prefix := []byte(c.prefix)
		if got := storage.PrefixEnd(prefix); string(got) != c.want || string(prefix) != c.prefix {
			t.Errorf("PrefixEnd(%q) = %q, want %q", c.prefix, got, c.want)
		}
	}
	for _, prefix := range [][]byte{nil, {}, []byte("\xff"), []byte("\xff\xff\xff")} {
		if got := storage.PrefixEnd(prefix); got != nil {
			t.Errorf("PrefixEnd(%q) = %q, want nil", prefix, got)
		}
	}
}

// A key is in the range of a prefix if and only if it begins with it, and After
// is the very next key.
func TestRangesOfKeys(t *testing.T) {
	short := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xFE, 0xFF}), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		prefix, key, other := short.Draw(t, "prefix"), short.Draw(t, "key"), short.Draw(t, "other")
		if in := storage.InRange(key, prefix, storage.PrefixEnd(prefix)); in != bytes.HasPrefix(key, prefix) {
			t.Fatalf("%q in the range of %q: %t", key, prefix, in)
		}
		after := storage.After(key)
		if bytes.Compare(after, key) <= 0 || bytes.Compare(other, key) > 0 && bytes.Compare(other, after) < 0 {
			t.Fatalf("After(%q) = %q, and %q is between", key, after, other)
		}
		if storage.EmptyRange(prefix, key) && storage.InRange(other, prefix, key) {
			t.Fatalf("%q is in [%q, %q), which is empty", other, prefix, key)
		}
	})
	if storage.EmptyRange([]byte("z"), nil) || !storage.EmptyRange(nil, []byte{}) || !storage.EmptyRange([]byte("a"), []byte("a")) {
		t.Error("EmptyRange does not tell nil from empty")
	}
}

func TestFirstVersion(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	a, b := storage.FirstVersion(now), storage.FirstVersion(now.Add(time.Millisecond))
	if a != 1_800_000_000_000<<20 || b-a != 1<<20 {
		t.Errorf("versions start at %d, a millisecond later at %d", a, b)
	}
	for _, odd := range []time.Time{{}, time.UnixMilli(-5), time.UnixMilli(0)} {
		if v := storage.FirstVersion(odd); v == 0 || v > a {
			t.Errorf("at %s versions start at %d", odd, v)
		}
	}
}
