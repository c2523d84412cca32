package memory

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/storage"
)

// What the budget foresees is what comes, and what does not fit changes nothing.
func TestBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, now := clocked(8 << 10)
		for range rapid.IntRange(1, 30).Draw(t, "writes") {
			*now = now.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "ms")) * time.Millisecond)
			ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) storage.Op { return drawOp(t, *now) }), 1, 6).Draw(t, "ops")
			b.reap(b.now(), b.index.count)
			before := b.used
			foreseen, err := b.usedAfter(&storage.WriteSet{Ops: ops}, b.now())
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.Apply(ctx, &storage.WriteSet{Ops: ops})
			var e *storage.Error
			switch {
			case foreseen > b.max && (!errors.As(err, &e) || e.Code != storage.NoSpace || e.Limit.Max != b.max || e.Limit.Actual != foreseen || b.used != before):
				t.Fatalf("%d bytes foreseen, limit %d: %v, used %d, before %d", foreseen, b.max, err, b.used, before)
			case foreseen <= b.max && (err != nil || b.used != foreseen):
				t.Fatalf("%d bytes foreseen, used %d: %v", foreseen, b.used, err)
			}
			consistent(t, b)
		}
	})
}

// A page is bounded whatever it was asked for, and in what it looks at: writers wait
// for no more than that.
func TestPagesAreBounded(t *testing.T) {
	b, now := clocked(64 << 20)
	var ops []storage.Op
	for i := range maxLooks + 1000 {
		ops = append(ops, storage.PutUntil(fmt.Appendf(nil, "k%05d", i), nil, now.Add(time.Second)))
	}
	apply(t, b, ops...)
	all := storage.Query{Limit: 1 << 62, MaxBytes: 1 << 62}
	scan := func(q storage.Query) storage.Page {
		page, err := b.Scan(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	for _, reverse := range []bool{false, true} {
		q := all
		q.Reverse = reverse
		if page := scan(q); len(page.Items) != maxItems || page.Next == nil {
			t.Errorf("a page of %d items", len(page.Items))
		}
	}
	*now = now.Add(time.Second)
	for _, reverse := range []bool{false, true} {
		q, pages := all, 0
		q.Reverse = reverse
		for more := true; more; pages++ {
			page := scan(q)
			if more = page.Next != nil; reverse {
				q.End = page.Next
			} else {
				q.Start = page.Next
			}
		}
		if pages != 2 {
			t.Errorf("%d expired entries are looked at by %d pages, want 2", len(ops), pages)
		}
	}

	b, _ = clocked(64 << 20)
	for i := range 20 {
		apply(t, b, storage.Put(fmt.Appendf(nil, "k%d", i), make([]byte, 1<<20)))
	}
	size := 0
	for _, it := range scan(all).Items {
		size += len(it.Key) + len(it.Value)
	}
	if size > maxBytes || size < maxBytes/2 {
		t.Errorf("a page of %d bytes", size)
	}
}

// Snapshots are few, short-lived, and go when what they hold would not fit.
func TestSnapshotsAreBounded(t *testing.T) {
	b, now := clocked(minBytes)
	page := func() storage.Page {
		p, err := b.Scan(ctx, storage.Query{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	at := func(version uint64) error {
		_, err := b.Scan(ctx, storage.Query{Limit: 1, AtVersion: version})
		return err
	}
	apply(t, b, storage.Put([]byte("a"), nil), storage.Put([]byte("b"), nil))
	first := page().Version
	for range snapshotsKept - 1 {
		apply(t, b, storage.Put([]byte("b"), nil))
		page()
	}
	if err := at(first); err != nil {
		t.Fatalf("%d snapshots: %v", snapshotsKept, err)
	}
	apply(t, b, storage.Put([]byte("b"), nil))
	page()
	if err := at(first); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("the oldest of %d: %v", snapshotsKept+1, err)
	}

	young := page().Version
	*now = now.Add(snapshotLife * time.Millisecond)
	apply(t, b, storage.Put([]byte("b"), nil))
	if err := at(young); !errors.Is(err, storage.ErrConflict) || len(b.snapshots.kept) != 0 {
		t.Errorf("an old one: %v, %d are kept", err, len(b.snapshots.kept))
	}

	fill := func() {
		for i := range 150 {
			apply(t, b, storage.Put(fmt.Appendf(nil, "k%03d", i), make([]byte, 4000+i)))
		}
	}
	fill()
	held := page().Version
	for range 10 { // what no snapshot sees is not kept for any
		apply(t, b, storage.Put([]byte("k000"), make([]byte, 5000)))
	}
	if err := at(held); err != nil || b.dead > 6000 {
		t.Errorf("%v, %d bytes are kept for a snapshot that sees 4000 of them", err, b.dead)
	}
	fill() // what only the snapshot sees grows
	if err := at(held); !errors.Is(err, storage.ErrConflict) || b.used+b.dead > b.max {
		t.Errorf("one that holds much: %v, %d and %d bytes", err, b.used, b.dead)
	}
	consistent(t, b)
}

// The latest IDs are remembered, and no more.
func TestIDsAreBounded(t *testing.T) {
	b, _ := clocked(64 << 20)
	write := func(n int) (uint64, error) {
		w := &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), fmt.Append(nil, n))}}
		w.ID[0], w.ID[1], w.ID[2], w.ID[3] = 1, byte(n), byte(n>>8), byte(n>>16)
		return b.Apply(ctx, w)
	}
	versions := map[int]uint64{}
	for n := range idsKept + 10 {
		v, err := write(n)
		if err != nil {
			t.Fatal(err)
		}
		versions[n] = v
	}
	if b.ids.n != idsKept || len(b.ids.ring) != idsKept {
		t.Errorf("%d of %d IDs are kept", b.ids.n, len(b.ids.ring))
	}
	for _, n := range []int{10, 11, idsKept, idsKept + 9} {
		if v, err := write(n); err != nil || v != versions[n] {
			t.Errorf("the repeat of %d answers %d, %v; the first %d", n, v, err, versions[n])
		}
	}
	if v, err := write(0); err != nil || v <= versions[idsKept+9] {
		t.Errorf("one that is forgotten is a new one: %d, %v", v, err)
	}
}

// A read without a waiting caller costs the value and nothing else.
func TestAllocations(t *testing.T) {
	b, _ := clocked(64 << 20)
	apply(t, b, storage.Put([]byte("k"), []byte("value")))
	key := []byte("k")
	if n := testing.AllocsPerRun(1000, func() { b.Get(ctx, key) }); n > 1 {
		t.Errorf("Get allocates %.0f times", n)
	}
	buf := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(1000, func() { b.AppendGet(ctx, buf, key) }); n > 0 {
		t.Errorf("AppendGet allocates %.0f times", n)
	}
}
