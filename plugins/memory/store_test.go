package memory

import (
	"bytes"
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// tight is a backend whose arena has no more slabs than the budget takes: everything
// that comes and goes has to be moved together.
func tight(max sdk.Size, write int) (*Backend, *time.Time) {
	b, now := clocked(max)
	b.most -= (writeReserve - uint32(write)) / slabSize
	return b, now
}

// kept is an item as the test knows it.
type kept struct {
	value   []byte
	version uint64
	expires int64
}

// Whatever is put, removed, expires and is moved, in whatever sizes, everything is
// where it should be, for the present and for every snapshot.
func TestStoreAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const max = 512 << 10
		b, now := tight(max, 300<<10)
		model, snaps := map[string]kept{}, map[uint64]map[string]kept{}
		sizes := rapid.SampledFrom([]int{0, 1, 8, 60, 100, 500, 2000, 4000, 4100, 9000, 70_000})
		spread := rapid.SampledFrom([]int{3, 40, 2000}).Draw(t, "keys")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		key := func() []byte {
			n := r.IntN(spread)
			switch n % 50 {
			case 0:
				return nil
			case 1:
				return bytes.Repeat([]byte{byte(n)}, 5000+n)
			case 2:
				return bytes.Repeat([]byte{byte(n)}, 1<<16)
			}
			return fmt.Appendf(nil, "%0*d", n%20, n)
		}
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			size, what := sizes.Draw(t, "size"), rapid.IntRange(0, 9).Draw(t, "what")
			for range rapid.IntRange(1, 150).Draw(t, "times") {
				*now = now.Add(time.Duration(r.IntN(3)) * time.Millisecond)
				at := now.UnixMilli()
				maps.DeleteFunc(model, func(_ string, k kept) bool { return k.expires != 0 && k.expires <= at })
				k := key()
				var op storage.Op
				switch {
				case what < 5:
					op = storage.Put(k, bytes.Repeat([]byte{byte(r.Uint32())}, size+r.IntN(8)))
				case what < 7:
					op = storage.PutUntil(k, bytes.Repeat([]byte{byte(r.Uint32())}, size), now.Add(time.Duration(r.IntN(300))*time.Millisecond))
				case what < 9:
					op = storage.Delete(k)
				default:
					end := key()
					if op = storage.DeleteRange(k, end); r.IntN(20) == 0 {
						op.End = nil
					}
				}
				version, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{op}})
				if storage.CodeOf(err) == storage.NoSpace {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				switch op.Kind {
				case storage.OpPut:
					delete(model, string(k))
					if op.ExpiresAt.IsZero() || op.ExpiresAt.UnixMilli() > at {
						model[string(k)] = kept{op.Value, version, millis(op.ExpiresAt)}
					}
				case storage.OpDelete:
					delete(model, string(k))
				default:
					maps.DeleteFunc(model, func(key string, _ kept) bool { return storage.InRange([]byte(key), op.Key, op.End) })
				}
			}
			consistent(t, b)
			same(t, b, 0, model, *now)
			for version, seen := range snaps {
				if b.snapshots.find(version, b.now()) >= 0 {
					same(t, b, version, seen, *now)
				}
			}
			if page, err := b.Scan(ctx, storage.Query{Limit: 1}); err != nil {
				t.Fatal(err)
			} else if page.Next != nil {
				snaps[page.Version] = maps.Clone(model)
			}
		}
	})
}

// same holds what scans and gets answer against the model.
func same(t rapid.TB, b *Backend, at uint64, model map[string]kept, now time.Time) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(model))
	keys = slices.DeleteFunc(keys, func(k string) bool { e := model[k].expires; return e != 0 && e <= now.UnixMilli() })
	check := func(k string, it storage.Item) {
		want := model[k]
		if !bytes.Equal(it.Value, want.value) || it.Version != want.version || millis(it.ExpiresAt) != want.expires {
			t.Fatalf("%.40q: %d bytes at %d until %v, want %d at %d until %d", k, len(it.Value), it.Version, it.ExpiresAt, len(want.value), want.version, want.expires)
		}
	}
	for _, reverse := range []bool{false, true} {
		var got []string
		q := storage.Query{AtVersion: at, Reverse: reverse, MaxBytes: 100_000}
		for {
			page, err := b.scan(&q, b.now(), func(it item) bool {
				c := b.copied(it, false)
				got = append(got, string(c.Key))
				check(string(c.Key), c)
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
			if page.Next == nil {
				break
			}
			if q.Start = page.Next; reverse {
				q.Start, q.End = nil, page.Next
			}
		}
		if reverse {
			slices.Reverse(got)
		}
		if !slices.Equal(got, keys) {
			t.Fatalf("a scan of %d gives %d keys, want %d", at, len(got), len(keys))
		}
	}
	if at != 0 {
		return
	}
	for _, k := range keys {
		it, err := b.Get(ctx, []byte(k))
		if err != nil {
			t.Fatalf("%.40q: %v", k, err)
		}
		check(k, it)
	}
}

// However the sizes of what is kept change, all of the budget can be used: what is
// left of slabs that were full of other sizes is moved together.
func TestSlackIsReclaimed(t *testing.T) {
	b, _ := tight(4<<20, 64<<10)
	n, live := 0, []string{}
	for round, size := range []int{64, 100, 1000, 40, 300, 5000, 64, 3000, 20, 64} {
		for {
			key := fmt.Sprintf("%d-%d", round, n)
			n++
			_, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(key), make([]byte, size))}})
			if storage.CodeOf(err) == storage.NoSpace {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			live = append(live, key)
		}
		if b.used < b.max-int64(2*size+256) {
			t.Errorf("items of %d bytes are refused at %d of %d", size, b.used, b.max)
		}
		rest := live[:0]
		for i, key := range live { // every slab stays nearly empty
			if i%17 == 0 {
				rest = append(rest, key)
			} else {
				apply(t, b, storage.Delete([]byte(key)))
			}
		}
		live = rest
		consistent(t, b)
	}
}

// An item of 9 + 64 bytes takes at most 128 of the budget, and what is held of memory
// is no more than the budget and what is stated.
func TestWhatAnItemTakes(t *testing.T) {
	const max = 32 << 20
	b, _ := clocked(max)
	n := 0
	for ; ; n++ {
		_, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(fmt.Appendf(nil, "key%06d", n), make([]byte, 64))}})
		if storage.CodeOf(err) == storage.NoSpace {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if each := float64(max) / float64(n); each > 128 {
		t.Errorf("an item takes %.1f bytes", each)
	}
	if held := b.Held(); held > max+4<<20 {
		t.Errorf("%d bytes are held for a budget of %d", held, max)
	}
	consistent(t, b)
}

// Everything that can be in a slot may be moved: items large and small, live and dead,
// that expire and that do not, the segments of large ones, nodes of both trees, and
// pages of buckets.
func TestEverythingMoves(t *testing.T) {
	b, now := clocked(256 << 20)
	model := map[string]kept{}
	r := rand.New(rand.NewPCG(1, 2))
	put := func(i int) {
		size, key := i%90, fmt.Appendf(nil, "%06d", i)
		if i%40 == 0 {
			size = 3000 + i
		}
		op := storage.Put(key, bytes.Repeat([]byte{byte(i)}, size))
		if i%3 == 0 {
			op.ExpiresAt = now.Add(time.Hour + time.Duration(i%1000)*time.Millisecond)
		}
		version, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{op}})
		if err != nil {
			t.Fatal(err)
		}
		model[string(key)] = kept{op.Value, version, millis(op.ExpiresAt)}
	}
	for i := range 20_000 {
		put(i)
	}
	page, err := b.Scan(ctx, storage.Query{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	seen := maps.Clone(model)
	for i := range 4000 {
		put(i * 5)
	}
	moved := map[byte]int{}
	for range 3 {
		for c := range classes {
			for b.freeSlots[c] >= classes[c].slots && b.some[c] != 0 {
				sl := b.lists[c][bits.TrailingZeros8(b.some[c])]
				for slot := range uint32(b.slabs[sl].carved) {
					moved[kindOf(b.at(ref(sl<<slabShift)+ref(slot*classes[c].size/granule)))]++
				}
				b.evacuate(uint8(c))
			}
		}
		move := func(at ref) { // of what there are few, among much that is not moved
			b.reserve(1)
			moved[kindOf(b.at(at))]++
			b.relocate(at, b.slabs[at>>slabShift].class)
			b.give(at)
		}
		for _, at := range b.pages {
			move(at)
		}
		for i := range b.snapshots.lists {
			for range 3 {
				if at := b.snapshots.lists[i]; at != 0 {
					next := b.item(at).next()
					move(at)
					if next != 0 {
						move(next)
					}
				}
			}
		}
		consistent(t, b)
		same(t, b, 0, model, *now)
		if b.snapshots.find(page.Version, b.now()) >= 0 {
			same(t, b, page.Version, seen, *now)
		}
		for _, key := range slices.Sorted(maps.Keys(model)) {
			if r.IntN(10) > 0 {
				delete(model, key)
				apply(t, b, storage.Delete([]byte(key)))
			}
		}
	}
	for _, kind := range []byte{kindSegment, kindNode, kindBuckets, kindItem, kindItem | flagExpires, kindItem | flagDead, kindItem | flagDead | flagExpires} {
		if moved[kind] == 0 {
			t.Errorf("nothing of the kind %#x was moved: %v", kind, moved)
		}
	}
}

// kindOf is what is in a slot.
func kindOf(slot []byte) byte {
	if slot[0]&kindItem != 0 {
		return slot[0] & (kindItem | flagDead | flagExpires)
	}
	return slot[0]
}
