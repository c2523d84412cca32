package storagetest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/plinthkv/plinth/storage"
)

func scanChecks() []Check {
	return in("scan",
		is("pages_partition_the_range", 0, pagesPartition),
		is("limit_is_kept", 0, func(t *T) {
			t.setAll("a", "b", "c", "d")
			for limit := 1; limit < 6; limit++ {
				page := t.scan(storage.Query{Limit: limit})
				if n := len(page.Items); n == 0 || n > limit {
					t.Errorf("limit %d: %d items", limit, n)
				}
				if got := len(t.all(storage.Query{Limit: limit})); got != min(limit, 4) {
					t.Errorf("limit %d: %d items in all", limit, got)
				}
			}
		}),
		is("max_bytes_is_kept_but_for_one_item", 0, maxBytesIsKept),
		is("max_bytes_of_every_scan", 0, maxBytesOfEveryScan),
		is("absurd_limits", 0, func(t *T) {
			t.setAll("a", "b", "c")
			for _, q := range []storage.Query{{Limit: 1 << 62}, {MaxBytes: 1 << 62}, {Limit: 1<<63 - 1, MaxBytes: 1<<63 - 1}} {
				if got := keysOf(t.all(q)); got != keyList([]string{"a", "b", "c"}) {
					t.Errorf("scan %s = %s", showQuery(q), got)
				}
			}
			for _, q := range []storage.Query{{Limit: -1}, {MaxBytes: -1}, {Limit: -1 << 63}} {
				_, err := t.b.Scan(t.ctx, q)
				t.wantCode(err, storage.InvalidArgument)
			}
		}),
		is("next_is_nil_at_the_end", 0, func(t *T) {
			if page := t.scan(storage.Query{}); page.Next != nil || len(page.Items) != 0 {
				t.Errorf("scan of an empty store: %s, Next %q", keysOf(page.Items), page.Next)
			}
			t.setAll("a")
			if page := t.scan(storage.Query{Start: bs("b")}); page.Next != nil || len(page.Items) != 0 {
				t.Errorf("scan behind the last key: %s, Next %q", keysOf(page.Items), page.Next)
			}
			if page := t.scan(storage.Query{Start: bs("b"), End: bs("a")}); page.Next != nil || len(page.Items) != 0 {
				t.Errorf("scan of an inverted range: %s, Next %q", keysOf(page.Items), page.Next)
			}
		}),
		is("keys_only", 0, func(t *T) {
			t.setAll("", "a", "b")
			for _, it := range t.all(storage.Query{KeysOnly: true}) {
				if it.Value != nil {
					t.Errorf("%q has a value", it.Key)
				}
				if whole := t.item(string(it.Key)); whole.Version != it.Version {
					t.Errorf("%q has version %d, Get says %d", it.Key, it.Version, whole.Version)
				}
			}
			t.wantWalk(storage.Query{KeysOnly: true}, []string{"", "a", "b"})
		}),
		is("items_are_as_get_answers_them", 0, func(t *T) {
			t.setAll("", "a", "b", "c")
			t.set("b", "")
			for _, it := range t.all(storage.Query{}) {
				one := t.item(string(it.Key))
				if !bytes.Equal(one.Value, it.Value) || one.Version != it.Version || !one.ExpiresAt.Equal(it.ExpiresAt) {
					t.Errorf("%q: a scan answers %+v, Get %+v", it.Key, it, one)
				}
			}
		}),
		is("reverse", storage.CapReverse, reverseScan),
		is("at_version", storage.CapSnapshotScan, scanAtVersion),
		is("at_an_unknown_version", storage.CapSnapshotScan, func(t *T) {
			t.setAll("a")
			for _, v := range []uint64{1, t.item("a").Version + 1000, 1<<64 - 1} {
				if page, err := t.b.Scan(t.ctx, storage.Query{AtVersion: v}); err == nil {
					t.Errorf("at version %d, which never was: %s", v, keysOf(page.Items))
				}
			}
		}),
		is("at_version_after_an_expiry", storage.CapSnapshotScan|storage.CapTTL, pastAndExpiry),
		is("range_over_pages", 0, rangeOverPages),
		is("range_of_a_snapshot", storage.CapSnapshotScan, func(t *T) {
			var want []string
			for i := range 50 {
				want = append(want, fmt.Sprintf("%02d", i))
			}
			t.setAll(want...)
			var got []string
			for it, err := range t.s.Range(t.ctx, nil, nil, storage.RangeOptions{Snapshot: true, PageItems: 7}) {
				t.must(err)
				got = append(got, string(it.Key))
				t.del(fmt.Sprintf("%02d", 49-len(got)/2)) // what is to come goes
				t.set(string(it.Key)+"x", "new")
			}
			if !slices.Equal(got, want) {
				t.Errorf("the range is not of one version: %s", keyList(got))
			}
		}),
	)
}

func (t *T) scan(q storage.Query) storage.Page {
	page, err := t.b.Scan(t.ctx, q)
	if err != nil {
		t.Fatalf("scan %s: %v", showQuery(q), err)
	}
	t.wantPage(q, page)
	return page
}

// pagesPartition walks with every small page size: nothing twice, nothing left out.
func pagesPartition(t *T) {
	var want []string
	for i := range 60 {
		want = append(want, fmt.Sprintf("key %02d", i))
	}
	t.setAll(want...)
	for limit := 1; limit <= 61; limit += 1 + limit/4 {
		t.wantWalk(storage.Query{Limit: limit}, want)
		t.wantWalk(storage.Query{Limit: limit, Start: bs("key 10"), End: bs("key 20")}, want[10:20])
		t.wantWalk(storage.Query{MaxBytes: 10 * limit}, want)
	}
}

func maxBytesIsKept(t *T) {
	for i := range 10 {
		t.apply(storage.Put(fmt.Appendf(nil, "k%d", i), bytes.Repeat(bs("v"), 98)))
	}
	for _, most := range []int{1, 99, 100, 101, 250, 999, 1000, 5000} {
		page := t.scan(storage.Query{MaxBytes: most})
		size := 0
		for _, it := range page.Items {
			size += len(it.Key) + len(it.Value)
		}
		if n := len(page.Items); n == 0 && page.Next == nil || n > 1 && size > most {
			t.Errorf("max bytes %d: %d items with %d bytes", most, n, size)
		}
	}
}

func reverseScan(t *T) {
	var want []string
	for i := 40; i > 0; i-- {
		want = append(want, fmt.Sprintf("key %02d", i))
	}
	t.setAll(want...)
	for limit := 1; limit <= 41; limit += 1 + limit/4 {
		t.wantWalk(storage.Query{Limit: limit, Reverse: true}, want)
		t.wantWalk(storage.Query{Limit: limit, Reverse: true, Start: bs("key 10"), End: bs("key 20")}, want[21:31])
		t.wantWalk(storage.Query{Limit: limit, Reverse: true, KeysOnly: true, End: bs("key 05\x00")}, want[35:])
	}
	if got := keysOf(t.all(storage.Query{Reverse: true, Limit: 2})); got != keyList(want[:2]) {
		t.Errorf("the last two = %s", got)
	}
	t.wantWalk(storage.Query{Reverse: true, Start: bs("b"), End: bs("a")}, nil)
	t.wantWalk(storage.Query{Reverse: true, End: []byte{}}, nil)
}

// scanAtVersion goes on reading an earlier state, in both directions.
func scanAtVersion(t *T) {
	t.setAll("a", "b", "c", "d", "e")
	first := t.scan(storage.Query{Limit: 2})
	if first.Next == nil {
		t.Fatalf("a page of 2 of 5 items has no Next")
	}
	t.set("c", "changed")
	t.set("cc", "new")
	t.del("e")
	rest := t.scan(storage.Query{Start: first.Next, AtVersion: first.Version})
	if got := keysOf(rest.Items); got != keyList([]string{"c", "d", "e"}) {
		t.Fatalf("at the version of the first page: %s", got)
	}
	if v := string(rest.Items[0].Value); v != "c" {
		t.Errorf("at the version of the first page, c is %q", v)
	}
	if rest.Version != first.Version {
		t.Errorf("the page is of version %d, asked at %d", rest.Version, first.Version)
	}
	if got := keysOf(t.all(storage.Query{Start: first.Next})); got != keyList([]string{"c", "cc", "d"}) {
		t.Errorf("now: %s", got)
	}
	now := t.scan(storage.Query{})
	again := t.scan(storage.Query{AtVersion: now.Version})
	if keysOf(now.Items) != keysOf(again.Items) {
		t.Errorf("at the current version: %s, want %s", keysOf(again.Items), keysOf(now.Items))
	}
	if t.has(storage.CapReverse) {
		if got := keysOf(t.all(storage.Query{AtVersion: first.Version, Reverse: true})); got != keyList([]string{"e", "d", "c", "b", "a"}) {
			t.Errorf("reverse, at the version of the first page: %s", got)
		}
	}
}

// rangeOverPages tries Store.Range with limit, resume, reverse and a page size.
func rangeOverPages(t *T) {
	var keys []string
	for i := range 25 {
		keys = append(keys, fmt.Sprintf("k%02d", i))
	}
	t.setAll(keys...)
	collect := func(o storage.RangeOptions) (got []string) {
		for it, err := range t.s.Range(t.ctx, bs("k05"), bs("k20"), o) {
			t.must(err)
			got = append(got, string(it.Key))
		}
		return got
	}
	want := keys[5:20]
	for _, page := range []int{0, 1, 4, 100} {
		for _, c := range []struct {
			o    storage.RangeOptions
			want []string
		}{
			{storage.RangeOptions{}, want},
			{storage.RangeOptions{Limit: 7}, want[:7]},
			{storage.RangeOptions{Limit: 100}, want},
			{storage.RangeOptions{After: bs("k09")}, keys[10:20]},
			{storage.RangeOptions{After: bs("k09"), Limit: 3}, keys[10:13]},
			{storage.RangeOptions{After: bs("a")}, want},
			{storage.RangeOptions{After: bs("z")}, nil},
			{storage.RangeOptions{KeysOnly: true, Limit: 2}, want[:2]},
		} {
			c.o.PageItems = page
			if got := collect(c.o); !slices.Equal(got, c.want) {
				t.Errorf("range with %+v = %s, want %s", c.o, keyList(got), keyList(c.want))
			}
		}
		if !t.has(storage.CapReverse) {
			continue
		}
		back := slices.Clone(want)
		slices.Reverse(back)
		if got := collect(storage.RangeOptions{Reverse: true, PageItems: page}); !slices.Equal(got, back) {
			t.Errorf("reverse, %d a page = %s", page, keyList(got))
		}
		if got := collect(storage.RangeOptions{Reverse: true, PageItems: page, After: bs("k15"), Limit: 4}); !slices.Equal(got, back[5:9]) {
			t.Errorf("reverse after k15, %d a page = %s", page, keyList(got))
		}
	}
}
