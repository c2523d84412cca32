package storagetest

import (
	"fmt"
	"sync/atomic"

	"github.com/plinthkv/plinth/storage"
)

func atomicityChecks() []Check {
	return in("atomicity",
		is("readers_see_all_or_nothing", storage.CapAtomic, allOrNothing),
		is("pages_are_each_one_view", storage.CapAtomic, pagesAreOneView),
		is("pages_at_a_version_are_one_view", storage.CapAtomic|storage.CapSnapshotScan, snapshotsAreOneView),
		is("clear_range_is_one_moment", 0, clearIsOneMoment),
		is("checks_and_ops_are_one_moment", storage.CapAtomic, func(t *T) {
			// Each round moves one unit from a to b or back, whoever sees it there.
			t.apply(storage.Put(bs("a"), bs("1")), storage.Put(bs("b"), bs("0")))
			move := func(from, to string) error {
				return t.try([]storage.Check{storage.HasValue(bs(from), bs("1"))},
					storage.Put(bs(from), bs("0")), storage.Put(bs(to), bs("1")))
			}
			moves := make([]int, 4)
			t.parallel(4, func(i int) {
				for range 200 {
					from, to := "a", "b"
					if i%2 == 1 {
						from, to = to, from
					}
					err := move(from, to)
					if err == nil {
						moves[i]++
					} else {
						t.wantCode(err, storage.Conflict)
					}
				}
			})
			there, back := moves[0]+moves[2], moves[1]+moves[3]
			if a := string(t.item("a").Value); there-back > 1 || there < back || (a == "1") != (there == back) {
				t.Errorf("%d moves there, %d back, and a is %s", there, back, a)
			}
		}),
	)
}

// generations puts n keys at once, again and again, all with the same value,
// from several writers.
func (t *T) generations(writers, n int) (stop func()) {
	put := func(value string) {
		ops := make([]storage.Op, n)
		for k := range ops {
			ops[k] = storage.Put(fmt.Appendf(nil, "%03d", k), bs(value))
		}
		_, err := t.b.Apply(t.ctx, &storage.WriteSet{Ops: ops})
		t.must(err)
	}
	put("0 0")
	round := make([]int, writers)
	return t.background(writers, func(i int) {
		round[i]++
		put(fmt.Sprint(i, " ", round[i]))
	})
}

// oneGeneration demands that all items are of one write.
func (t *T) oneGeneration(how string, items []storage.Item, want int) {
	if want >= 0 && len(items) != want {
		t.Fatalf("%s sees %d of %d keys", how, len(items), want)
	}
	for i := range items {
		if string(items[i].Value) != string(items[0].Value) || items[i].Version != items[0].Version {
			t.Fatalf("%s sees %q = %s at version %d, and %q = %s at version %d", how, items[0].Key, quote(items[0].Value), items[0].Version,
				items[i].Key, quote(items[i].Value), items[i].Version)
		}
	}
}

func allOrNothing(t *T) {
	const n = 100
	stop := t.generations(2, n)
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "%03d", i)
	}
	t.parallel(3, func(i int) {
		for range 150 {
			if i == 0 && t.has(storage.CapSnapshotGet) {
				items, err := t.b.GetMany(t.ctx, keys)
				t.must(err)
				t.oneGeneration("GetMany", items, n)
				continue
			}
			page := t.scan(storage.Query{Limit: n})
			t.oneGeneration("a scan", page.Items, -1)
		}
	})
	stop()
}

func pagesAreOneView(t *T) {
	const n = 60
	stop := t.generations(2, n)
	t.parallel(3, func(i int) {
		for round := range 40 {
			q := storage.Query{Limit: 1 + round%25, Reverse: i == 1 && t.has(storage.CapReverse)}
			seen := 0
			for {
				page := t.scan(q)
				t.oneGeneration("a page", page.Items, -1)
				if len(page.Items) > 0 && page.Version < page.Items[0].Version {
					t.Fatalf("a page of version %d has items of version %d", page.Version, page.Items[0].Version)
				}
				if seen += len(page.Items); page.Next == nil {
					break
				}
				if q.Reverse {
					q.End = page.Next
				} else {
					q.Start = page.Next
				}
			}
			if seen != n {
				t.Fatalf("the pages have %d items, want %d", seen, n)
			}
		}
	})
	stop()
}

// snapshotsAreOneView may lose a snapshot to newer ones; most have to last.
func snapshotsAreOneView(t *T) {
	const n = 30
	stop := t.generations(1, n)
	whole := make([]int, 2)
	t.parallel(2, func(i int) {
		for range 100 {
			var items []storage.Item
			var failed error
			for it, err := range t.s.Range(t.ctx, nil, nil, storage.RangeOptions{Snapshot: true, PageItems: 10}) {
				if failed = err; err == nil {
					items = append(items, it)
				}
			}
			if failed == nil {
				whole[i]++
				t.oneGeneration("a range of a snapshot", items, n)
			} else if storage.Unknown(failed) || storage.CodeOf(failed) == storage.Internal {
				t.Fatalf("a range of a snapshot: %v", failed)
			}
		}
	})
	stop()
	if whole[0]+whole[1] < 50 {
		t.Errorf("of 200 ranges of a snapshot %d came to their end", whole[0]+whole[1])
	}
}

// clearIsOneMoment has a writer put keys in their order while others clear them
// all. Any view then has an unbroken run of keys: what is older than a clear is
// gone, what is newer is there.
func clearIsOneMoment(t *T) {
	var written atomic.Int64
	stopWriter := t.background(1, func(int) {
		t.set(fmt.Sprintf("%06d", written.Load()), "v")
		written.Add(1)
	})
	stopClearer := t.background(1, func(int) { t.clear(nil, nil) })
	t.parallel(2, func(int) {
		for n := 0; n < 200 || written.Load() < 300; n++ {
			items := t.scan(storage.Query{}).Items
			for i := 1; i < len(items); i++ {
				var a, b int
				fmt.Sscanf(string(items[i-1].Key), "%06d", &a)
				fmt.Sscanf(string(items[i].Key), "%06d", &b)
				if b != a+1 {
					t.Fatalf("a view has %s and %s and nothing in between: a clear took its time", items[i-1].Key, items[i].Key)
				}
			}
		}
	})
	stopClearer()
	stopWriter()
	t.clear(nil, nil)
	t.wantKeys(nil, nil)
}
