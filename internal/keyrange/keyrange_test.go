package keyrange_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/plinthkv/plinth/internal/keyrange"
)

// bound is a random bound; one in eight is nil, which as an end is unbounded, and
// some are empty, which is not.
func bound(r *rand.Rand) []byte {
	switch r.IntN(8) {
	case 0:
		return nil
	case 1:
		return []byte{}
	}
	return fmt.Appendf(nil, "%02d", r.IntN(40))
}

func in(key string, start, end []byte) bool {
	return key >= string(start) && (end == nil || key < string(end))
}

// everyKey returns the keys that bounds can distinguish.
func everyKey() (keys []string) {
	keys = append(keys, "", "\x00")
	for i := range 41 {
		keys = append(keys, fmt.Sprintf("%02d", i), fmt.Sprintf("%02d\x00", i))
	}
	return keys
}

// A map does what one of Go's does, sorted.
func TestMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var m keyrange.Map[int]
		want := map[string]int{}
		for i := range 60 {
			key := bound(r)
			switch r.IntN(4) {
			case 0:
				_, had := want[string(key)]
				if m.Delete(key) != had {
					t.Fatal("Delete tells something else")
				}
				delete(want, string(key))
			case 1:
				start, end := bound(r), bound(r)
				var cut, wanted []string
				m.Cut(start, end, func(key string, _ int) { cut = append(cut, key) })
				for _, key := range slices.Sorted(maps.Keys(want)) {
					if in(key, start, end) {
						wanted = append(wanted, key)
						delete(want, key)
					}
				}
				if !slices.Equal(cut, wanted) {
					t.Fatalf("cut %q, not %q", cut, wanted)
				}
			default:
				m.Set(key, i)
				want[string(key)] = i
			}
			if m.Len() != len(want) {
				t.Fatalf("%d keys, not %d", m.Len(), len(want))
			}
			start, end := bound(r), bound(r)
			var got, wanted []string
			m.Ascend(start, end, func(key string, v int) bool {
				if want[key] != v {
					t.Fatalf("%q: %d, not %d", key, v, want[key])
				}
				got = append(got, key)
				return true
			})
			for _, key := range slices.Sorted(maps.Keys(want)) {
				if in(key, start, end) {
					wanted = append(wanted, key)
				}
			}
			if !slices.Equal(got, wanted) {
				t.Fatalf("%q, not %q", got, wanted)
			}
			v, ok := m.Get(key)
			if w, had := want[string(key)]; ok != had || v != w {
				t.Fatal("Get answers something else")
			}
			at, _, ok := m.Floor(key)
			last, had := "", false
			for k := range want {
				if k <= string(key) && (!had || k > last) {
					last, had = k, true
				}
			}
			if at != last || ok != had {
				t.Fatalf("floor %q %v, not %q %v", at, ok, last, had)
			}
		}
	}
}

// Sets and counts know of each key what the list of ranges says.
func TestRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	keys := everyKey()
	for range 200 {
		var set keyrange.Set
		var counts keyrange.Counts
		var added [][2][]byte
		live := 0 // of added, those before it are no longer counted
		for range 30 {
			start, end := bound(r), bound(r)
			set.Add(start, end)
			counts.Add(start, end, 1)
			added = append(added, [2][]byte{start, end})
			if r.IntN(3) == 0 {
				counts.Add(added[live][0], added[live][1], -1)
				live++
			}
			for _, key := range keys {
				covered, count := false, 0
				for i, a := range added {
					if in(key, a[0], a[1]) {
						covered = true
						if i >= live {
							count++
						}
					}
				}
				if set.Contains([]byte(key)) != covered || counts.Of([]byte(key)) != count {
					t.Fatalf("%q: %v and %d, not %v and %d", key, set.Contains([]byte(key)), counts.Of([]byte(key)), covered, count)
				}
			}
			var before []byte
			n := 0
			set.All(func(start, end []byte) bool {
				if n > 0 && (before == nil || bytes.Compare(before, start) >= 0) {
					t.Fatal("ranges that touch are not joined")
				}
				before, n = end, n+1
				return true
			})
			if n != set.Len() {
				t.Fatalf("%d ranges, not %d", set.Len(), n)
			}
		}
		for _, a := range added[live:] {
			counts.Add(a[0], a[1], -1)
		}
		if !counts.Empty() {
			t.Fatal("something is counted that was taken back")
		}
	}
}

func Example() {
	var gone keyrange.Set
	gone.Add([]byte("a"), []byte("c"))
	gone.Add([]byte("x"), nil)
	fmt.Println(gone.Contains([]byte("b")), gone.Contains([]byte("c")), gone.Contains([]byte("zebra")))
	// Output: true false true
}
