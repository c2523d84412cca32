package memory

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

var ctx = context.Background()

// clocked is a small backend and its clock.
func clocked(max sdk.Size) (*Backend, *time.Time) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return New(Config{MaxBytes: max}, sdk.Env{Now: func() time.Time { return now }}), &now
}

func apply(t rapid.TB, b *Backend, ops ...storage.Op) {
	t.Helper()
	if _, err := b.Apply(ctx, &storage.WriteSet{Ops: ops}); err != nil {
		t.Fatal(err)
	}
}

func drawOp(t *rapid.T, now time.Time) storage.Op {
	key := func(name string) []byte { return []byte{'a' + byte(rapid.IntRange(0, 5).Draw(t, name))} }
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return storage.Delete(key("key"))
	case 1:
		return storage.DeleteRange(key("start"), key("end"))
	case 2:
		return storage.PutUntil(key("key"), nil, now.Add(time.Duration(rapid.IntRange(-10, 100).Draw(t, "ttl"))*time.Millisecond))
	}
	return storage.Put(key("key"), make([]byte, rapid.IntRange(0, 3000).Draw(t, "size")))
}

// consistent holds index, trees, lists and the counts of bytes together.
func consistent(t rapid.TB, b *Backend) {
	t.Helper()
	used, dead, live, expiring, total := int64(0), int64(0), 0, 0, 0
	var before *target
	for c := b.all.seek(keyTarget(nil, 0)); c.item() != 0; c.next() {
		it := b.item(c.item())
		have, key := it.shape(), b.key(it)
		if before != nil && b.all.compare(before.number, c.item(), before) <= 0 && prefix(key) <= before.number {
			t.Fatalf("%.40q: out of order", key)
		}
		before = keyTarget(append([]byte(nil), key...), it.version())
		if total++; it.dead() {
			dead += have.charge()
			continue
		}
		live++
		used += have.charge()
		if b.find(key) != c.item() {
			t.Fatalf("%.40q: index and tree differ", key)
		}
		if have.expires != 0 {
			expiring++
			var p path
			if !b.deadlines.find(deadline(have.expires, key, it.version()), &p) {
				t.Fatalf("%.40q expires and is not among the deadlines", key)
			}
		}
	}
	inLists := 0
	for _, r := range b.snapshots.lists {
		for prev := ref(0); r != 0; prev, r = r, b.item(r).next() {
			if it := b.item(r); !it.dead() || it.before() != prev {
				t.Fatal("a list of dead items is broken")
			}
			inLists++
		}
	}
	if used != b.used || dead != b.dead || live != b.index.count || total != b.all.count || expiring != b.deadlines.count || inLists != total-live {
		t.Fatalf("used %d, counted %d; dead %d, counted %d; %d in the index, %d live; %d in the tree, %d walked; %d expire, %d deadlines; %d dead, %d in lists",
			b.used, used, b.dead, dead, b.index.count, live, b.all.count, total, expiring, b.deadlines.count, total-live, inLists)
	}
	if b.used+b.dead > b.max {
		t.Fatalf("%d and %d bytes of %d", b.used, b.dead, b.max)
	}
	for _, tr := range []*tree{&b.all, &b.deadlines} {
		if tr.root != 0 {
			wellFormed(t, tr, tr.root, tr.depth)
		}
	}
	slots := uint32(0)
	for at := uint32(1); at < b.arena.next; at++ {
		slots += uint32(b.slabs[at].used)
	}
	if n := b.reachable(); n != slots {
		t.Fatalf("%d slots are used, %d are reachable", slots, n)
	}
}

// wellFormed holds a node and all below it to the rules of the tree.
func wellFormed(t rapid.TB, tr *tree, r ref, level int) {
	t.Helper()
	n := tr.node(r)
	if n.kind != kindNode || int(n.level) != level || n.tree != tr.id {
		t.Fatalf("a node of level %d says %+v", level, *n)
	}
	least := innerCap / 2
	if level == 0 {
		least = leafCap / 2
	}
	if r != tr.root && int(n.n) < least {
		t.Fatalf("a node of level %d has %d entries", level, n.n)
	}
	numbers, items, children := tr.entries(r)
	for i, c := range children {
		first, its, _ := tr.entries(c)
		if first[0] != numbers[i] || its[0] != items[i] {
			t.Fatalf("entry %d of a node of level %d is not the first of its child", i, level)
		}
		wellFormed(t, tr, c, level-1)
	}
}

// reachable is how many slots there is a way to.
func (s *store) reachable() (n uint32) {
	n = uint32(len(s.pages))
	for _, tr := range []*tree{&s.all, &s.deadlines} {
		if tr.root != 0 {
			n += tr.nodes(tr.root)
		}
	}
	for c := s.all.seek(keyTarget(nil, 0)); c.item() != 0; c.next() {
		n++
		b := s.item(c.item())
		have := b.shape()
		if head, large := have.head(); large {
			for at := ref(binary.LittleEndian.Uint32(b[head-4:])); at != 0; at = ref(binary.LittleEndian.Uint32(s.at(at)[4:])) {
				n++
			}
		}
	}
	return n
}

func (t *tree) nodes(r ref) uint32 {
	n := uint32(1)
	_, _, children := t.entries(r)
	for _, c := range children {
		n += t.nodes(c)
	}
	return n
}

// Expired items make room, as many as needed: they need not be read first.
func TestExpiredItemsMakeRoom(t *testing.T) {
	b, now := clocked(1 << 20)
	for i := range 100 {
		apply(t, b, storage.PutUntil(fmt.Appendf(nil, "k%d", i), make([]byte, 8000), now.Add(time.Second)))
	}
	full := storage.Put([]byte("new"), make([]byte, 900_000))
	if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{full}}); !errors.Is(err, storage.ErrNoSpace) {
		t.Fatal(err)
	}
	*now = now.Add(time.Second)
	apply(t, b, storage.Put([]byte("new"), make([]byte, 500_000)))
	if left := b.index.count - 1; left < 60 || left > 70 {
		t.Errorf("%d of 100 expired items are left, want as many as there is room for", left)
	}
	apply(t, b, full)
	consistent(t, b)
	if left := b.index.count - 1; left > 15 {
		t.Errorf("%d expired items are left", left)
	}
}

// Each write takes some expired items out, so that they never pile up, and few, so
// that none takes long.
func TestReaping(t *testing.T) {
	b, now := clocked(64 << 20)
	for i := range 1000 {
		apply(t, b, storage.PutUntil(fmt.Appendf(nil, "k%d", i), nil, now.Add(time.Second)))
	}
	*now = now.Add(time.Second)
	for range 1000/reapPerApply + 1 {
		before := b.index.count
		apply(t, b, storage.Delete([]byte("none")))
		if gone := before - b.index.count; gone > reapPerApply+1 {
			t.Fatalf("one write takes %d out: others wait for it", gone)
		}
	}
	if b.index.count != 0 || b.deadlines.count != 0 || b.used != 0 {
		t.Errorf("%d entries, %d deadlines, %d bytes are left", b.index.count, b.deadlines.count, b.used)
	}
}

// Whether a cleared range is most of the store or little of it, the rest stays as it
// was, and so does what an earlier page has seen.
func TestClearingMuchAndLittle(t *testing.T) {
	for _, size := range []int{1, 49, 50, 51, 99, 100} {
		b, now := clocked(64 << 20)
		for i := range 100 {
			op := storage.Put(fmt.Appendf(nil, "k%02d", i), []byte("v"))
			if i%3 == 0 {
				op.ExpiresAt = now.Add(time.Duration(200-i) * time.Second)
			}
			apply(t, b, op)
		}
		before, err := b.Scan(ctx, storage.Query{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, b, storage.DeleteRange([]byte("k"), fmt.Appendf(nil, "k%02d\x00", size-1)))
		consistent(t, b)
		page, err := b.Scan(ctx, storage.Query{})
		if err != nil || len(page.Items) != 100-size || page.Version != before.Version+1 {
			t.Errorf("%d of 100: %d are left at %d, %v", size, len(page.Items), page.Version, err)
		}
		if page, err = b.Scan(ctx, storage.Query{AtVersion: before.Version}); err != nil || len(page.Items) != 100 {
			t.Errorf("%d of 100: %d are seen at the version before, %v", size, len(page.Items), err)
		}
		*now = now.Add(time.Hour)
		apply(t, b, storage.Put([]byte("k00"), nil))
		for range 100 {
			apply(t, b, storage.Delete([]byte("none")))
		}
		consistent(t, b)
		if b.deadlines.count != 0 {
			t.Errorf("%d of 100: %d that have expired are left", size, b.deadlines.count)
		}
	}
}

// What is answered as the wire has it is what is answered in Go.
func TestEncoded(t *testing.T) {
	b, now := clocked(64 << 20)
	apply(t, b, storage.Put([]byte(""), []byte("")), storage.Put([]byte("a"), nil), storage.Put([]byte("b"), make([]byte, 300)),
		storage.PutUntil([]byte("c"), []byte("v"), now.Add(time.Hour)), storage.PutUntil([]byte("d"), []byte("v"), now.Add(time.Millisecond)))
	*now = now.Add(time.Millisecond)
	keys := [][]byte{[]byte("c"), []byte(""), []byte("none"), []byte("d"), []byte("c"), []byte("b"), []byte("a")}
	items, err := b.GetMany(ctx, keys)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.AppendMany(ctx, []byte("x"), keys, 1<<20)
	if want := abi.AppendItems([]byte("x"), items); err != nil || string(raw) != string(want) {
		t.Errorf("%x, %v, want %x", raw, err, want)
	}
	for _, q := range []storage.Query{{}, {KeysOnly: true}, {Reverse: true, Limit: 2}, {Start: []byte("b"), End: []byte("d")}, {End: []byte{}}} {
		page, err := b.Scan(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := b.AppendScan(ctx, []byte("x"), q, 1<<20)
		if want := abi.AppendPage([]byte("x"), &page); err != nil || string(raw) != string(want) {
			t.Errorf("%+v: %x, %v, want %x", q, raw, err, want)
		}
	}
	for _, key := range keys {
		it, err := b.Get(ctx, key)
		raw, rawErr := b.AppendGet(ctx, nil, key)
		if fmt.Sprint(err) != fmt.Sprint(rawErr) || err == nil && string(raw) != string(abi.AppendItem(nil, &it)) {
			t.Errorf("%q: %x, %v; %v, %v", key, raw, rawErr, it, err)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, good := range []string{``, `{}`, `{"max_bytes":"1MiB"} `, `{"max_bytes":1048576}`, `{"max_bytes":"896MiB"}`} {
		if _, err := Open(ctx, sdk.Env{Config: []byte(good), Memory: 1 << 30}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, path := range map[string]string{
		`{"max_bytes":"1MB"}`:    "max_bytes", // too little
		`{"max_bytes":"897MiB"}`: "max_bytes", // more than the memory allows
		`{"max_byte":1}`:         "max_byte",
		`{"max_bytes":"x"}`:      "max_bytes",
		`{"max_bytes":1}{}`:      "",
		`[]`:                     "",
	} {
		_, err := Open(ctx, sdk.Env{Config: []byte(bad), Memory: 1 << 30})
		var e *storage.Error
		if !errors.As(err, &e) || e.Code != storage.InvalidArgument || e.ConfigPath != path {
			t.Errorf("%s: %v (path %+v, want %q)", bad, err, e, path)
		}
	}
}

// Whatever is judged by the time is judged by a time at which it was there: while
// no call has the lock, others renew an item and its old end passes.
func TestRenewedItemsAreNeverAbsent(t *testing.T) {
	key, renewed := []byte("k"), 0
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var b *Backend
	renew := func() {
		renewed++
		b.clock = func() time.Time { return start.Add(time.Duration(renewed) * time.Minute) }
		apply(t, b, storage.PutUntil(key, []byte("v"), b.clock().Add(time.Minute+time.Second)))
	}
	meddling := func() time.Time {
		if b.mu.TryLock() {
			b.mu.Unlock()
			renew()
			renew()
		}
		return start.Add(time.Duration(renewed) * time.Minute)
	}
	for name, call := range map[string]func() (found bool){
		"get": func() bool { _, err := b.Get(ctx, key); return err == nil },
		"get_many": func() bool {
			items, err := b.GetMany(ctx, [][]byte{key})
			return err == nil && len(items) == 1
		},
		"scan": func() bool {
			page, err := b.Scan(ctx, storage.Query{})
			return err == nil && len(page.Items) == 1
		},
		"apply": func() bool {
			_, err := b.Apply(ctx, &storage.WriteSet{Checks: []storage.Check{storage.Present(key)}})
			return err == nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ = clocked(1 << 20)
			renew()
			b.clock = meddling
			if !call() {
				t.Errorf("absent, although it was renewed before its end")
			}
		})
	}
}

// Expired items do not count until the next write: who asks how full the store is has them
// taken out, a bounded number each time, and those that are alive stay.
func TestExpiredItemsAreCollectedWithoutWrites(t *testing.T) {
	b, now := clocked(64 << 20)
	const n = 10_000
	for i := range n {
		key := binary.BigEndian.AppendUint32(nil, uint32(i))
		apply(t, b, storage.Op{Kind: storage.OpPut, Key: key, Value: key, ExpiresAt: now.Add(time.Second)})
	}
	apply(t, b, storage.Op{Kind: storage.OpPut, Key: []byte("lives"), Value: []byte("v"), ExpiresAt: now.Add(time.Hour)})
	*now = now.Add(time.Minute)
	for _, want := range []int{n + 1 - collectPerHealth, n + 1 - 2*collectPerHealth, 1, 1} {
		h, err := b.Health(ctx, storage.Readiness)
		if err != nil || h.Details["entries"] != fmt.Sprint(want) {
			t.Fatalf("%s entries, want %d (%v)", h.Details["entries"], want, err)
		}
	}
	consistent(t, b)
	if it, err := b.Get(ctx, []byte("lives")); err != nil || string(it.Value) != "v" {
		t.Errorf("%q, %v", it.Value, err)
	}
	if b.used >= 1000 {
		t.Errorf("%d bytes are used", b.used)
	}
}

// BenchmarkCollect is one readiness that finds as many expired items as it takes out.
func BenchmarkCollect(b *testing.B) {
	m, now := clocked(64 << 20)
	for b.Loop() {
		b.StopTimer()
		for i := range collectPerHealth {
			key := binary.BigEndian.AppendUint32(nil, uint32(i)*2654435761)
			if _, err := m.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{{Kind: storage.OpPut, Key: key, Value: key, ExpiresAt: now.Add(time.Second)}}}); err != nil {
				b.Fatal(err)
			}
		}
		*now = now.Add(time.Minute)
		b.StartTimer()
		if _, err := m.Health(ctx, storage.Readiness); err != nil {
			b.Fatal(err)
		}
	}
}
