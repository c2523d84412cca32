package storagetest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// many is how many keys make a range that a backend may be tempted to treat in parts.
const many = 2500

// fill puts n keys that begin with prefix, several at once.
func (t *T) fill(prefix string, n int) {
	ops := make([]storage.Op, n)
	for i := range ops {
		ops[i] = storage.Put(fmt.Appendf(nil, "%s%05d", prefix, i), fmt.Append(nil, i))
	}
	t.each(ops)
}

func lastKey(items []storage.Item) []byte {
	if len(items) == 0 {
		return nil
	}
	return items[len(items)-1].Key
}

// largeRange reads and clears a range of many keys.
func largeRange(t *T) {
	t.setAll("a", "z")
	t.fill("k", many)
	t.wantItems("a scan", t.all(storage.Query{Start: bs("k"), End: bs("l")}), numbered("k%05d", many))
	t.wantItems("a scan for keys", t.all(storage.Query{Start: bs("k"), End: bs("l"), KeysOnly: true}), numbered("k%05d", many))
	t.clear(bs("k"), bs("l"))
	t.wantItems(fmt.Sprintf("what a clear of %d keys leaves", many), t.all(storage.Query{KeysOnly: true}), []string{"a", "z"})
}

// largeRangeCheck has the last of many keys be newer.
func largeRangeCheck(t *T) {
	t.fill("k", many)
	seen := t.scan(storage.Query{Limit: 1}).Version
	checks := []storage.Check{storage.NoneNewer(bs("k"), bs("l"), seen)}
	t.must(t.try(checks, storage.Put(bs("z"), nil)))
	t.set(fmt.Sprintf("k%05d", many-1), "newer")
	t.wantConflict(0, checks, storage.Put(bs("z"), nil))
}

// countedBytes checks that what is only compared, ends of ranges and values of checks,
// counts as bytes of a write set.
func countedBytes(t *T) {
	most := t.info.Limits.WriteBytes
	if most == 0 || most > saneLimit {
		t.notApplicable("the bytes of a write set are not limited")
	}
	t.set("k", "v")
	compared := func(n int) []storage.Check { return []storage.Check{storage.HasValue(bs("k"), make([]byte, n))} }
	t.wantCode(t.try(compared(most-2), storage.Put(bs("k"), nil)), storage.Conflict)
	t.wantLimit(t.try(compared(most-1), storage.Put(bs("k"), nil)), "write set bytes", most, most+1)
	end := bytes.Repeat(bs("x"), min(500, tryable(t.info.Limits.Key, 500)))
	w := storage.WriteSet{Checks: compared(most - 2 - len(end)), Ops: []storage.Op{storage.DeleteRange(bs("k"), end)}}
	if !t.has(storage.CapCheckOnly) {
		return
	}
	_, err := t.b.Apply(t.ctx, &w)
	t.wantCode(err, storage.Conflict)
	w.Checks = compared(most - 1 - len(end))
	_, err = t.b.Apply(t.ctx, &w)
	t.wantLimit(err, "write set bytes", most, most+1)
	t.wantValue("k", "v")
}

// comparedValues may be longer than any that is put: nothing has them.
func comparedValues(t *T) {
	most, all := t.info.Limits.Value, t.info.Limits.WriteBytes
	if most == 0 || most > saneLimit || all > 0 && most+3 > all {
		t.notApplicable("values are not limited, or as write sets are")
	}
	t.set("k", "v")
	t.wantConflict(0, []storage.Check{storage.HasValue(bs("k"), make([]byte, most+1))}, storage.Put(bs("k"), nil))
	t.wantValue("k", "v")
}

// maxBytesOfEveryScan is kept backwards too, and with keys only counts keys alone.
func maxBytesOfEveryScan(t *T) {
	for i := range 10 {
		t.apply(storage.Put(fmt.Appendf(nil, "%s%d", bytes.Repeat(bs("k"), 49), i), bytes.Repeat(bs("v"), 50)))
	}
	for _, q := range []storage.Query{{}, {Reverse: true}, {KeysOnly: true}, {Reverse: true, KeysOnly: true}} {
		if q.Reverse && !t.has(storage.CapReverse) {
			continue
		}
		for _, q.MaxBytes = range []int{1, 99, 100, 150, 249, 250, 1000} {
			page, size := t.scan(q), 0
			for _, it := range page.Items {
				size += len(it.Key) + len(it.Value)
			}
			if n := len(page.Items); n == 0 && page.Next == nil || n > 1 && size > q.MaxBytes {
				t.Errorf("scan %s: %d items with %d bytes", showQuery(q), n, size)
			}
		}
	}
}

// pastAndExpiry reads an earlier state, in which an item has expired since.
func pastAndExpiry(t *T) {
	t.setAll("a", "c")
	t.setTTL("b", "v", time.Minute)
	first := t.scan(storage.Query{Limit: 1})
	t.set("d", "later")
	t.clock.Advance(time.Minute)
	page, err := t.b.Scan(t.ctx, storage.Query{AtVersion: first.Version})
	if storage.CodeOf(err) == storage.Conflict {
		t.notApplicable("the version is not kept for that long")
	}
	t.must(err)
	if got := keysOf(page.Items); got != keyList([]string{"a", "c"}) {
		t.Errorf("at a version at which an item had not expired that has since: %s, want \"a\" and \"c\"", got)
	}
}

// precision: an item lives for as long as it was said, and for less than a step longer.
func precision(t *T) {
	step := t.step()
	whole := func() { t.clock.Advance(t.clock.Now().Truncate(step).Add(step).Sub(t.clock.Now())) }
	whole()
	defer whole() // for checks that look at the very step
	ttl := 2*step + step/2
	t.setTTL("k", "v", ttl)
	t.clock.Advance((ttl - 1).Truncate(time.Millisecond))
	t.wantValue("k", "v")
	t.clock.Advance(step + time.Millisecond)
	t.wantAbsent("k")
}

// everyByteOfAnID counts, zeros too.
func everyByteOfAnID(t *T) {
	base := t.identified(1).ID
	base[0] |= 0x40 // not a zero, as some that follow are
	for i := range base {
		for _, flip := range []byte{1, 0x80} {
			w := storage.WriteSet{ID: base, Ops: []storage.Op{storage.Put(fmt.Appendf(nil, "%02d %d", i, flip), nil)}}
			if w.ID[i] ^= flip; i == 0 && flip == 1 {
				w.ID = base
			}
			if _, err := t.b.Apply(t.ctx, &w); err != nil {
				t.Fatalf("an ID that differs from others in the byte %d alone: %v", i, err)
			}
		}
	}
}
