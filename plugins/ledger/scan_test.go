package ledger_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
)

// Ranges of any bounds, over keys in every nibble, against a sorted list.
func TestRangesAreCovered(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c, func(c *ledger.Config) { c.PageSize = 50 })
	var all [][]byte
	var ops []storage.Op
	for i := range 256 {
		for _, tail := range []string{"", "\x00", "\xff", "mid"} {
			all = append(all, append([]byte{byte(i)}, tail...))
		}
	}
	slices.SortFunc(all, bytes.Compare)
	for _, k := range all {
		ops = append(ops, storage.Put(k, k))
	}
	apply(t, b, ops[:600]...)
	apply(t, b, ops[600:]...)
	bound := rapid.SliceOfN(rapid.Byte(), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		q := storage.Query{Start: bound.Draw(t, "start"), End: bound.Draw(t, "end"), Reverse: rapid.Bool().Draw(t, "reverse"),
			Limit: rapid.IntRange(0, 40).Draw(t, "limit")}
		if rapid.IntRange(0, 3).Draw(t, "open") == 0 {
			q.End = nil
		}
		var want, got []string
		for _, k := range all {
			if storage.InRange(k, q.Start, q.End) {
				want = append(want, string(k))
			}
		}
		if q.Reverse {
			slices.Reverse(want)
		}
		for {
			page, err := b.Scan(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if q.Limit > 0 && len(page.Items) > q.Limit {
				t.Fatalf("%d items", len(page.Items))
			}
			for _, it := range page.Items {
				got = append(got, string(it.Key))
			}
			if page.Next == nil {
				break
			}
			if q.Reverse {
				q.End = page.Next
			} else {
				q.Start = page.Next
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d keys, want %d", len(got), len(want))
		}
	})
}

// Entities that together are more than a message are asked for in smaller pages.
func TestPagesShrink(t *testing.T) {
	c := cluster(t, ledgertest.Options{Quirks: largePages()})
	b := open(t, c, largeValues, func(c *ledger.Config) { c.MaxAnswer = 8 << 20 })
	value := bytes.Repeat(bs("v"), 1_000_000)
	var want []string
	for i := range 18 {
		key := fmt.Sprintf("k%02d", i)
		apply(t, b, storage.Put(bs(key), value))
		want = append(want, key)
	}
	lists := requests(c, "/ListEntities")
	if got := keys(t, b, bs("k"), bs("l")); !slices.Equal(got, want) {
		t.Errorf("the range is %q", got)
	}
	first := lists.Load()
	if got := keys(t, b, bs("k"), bs("l")); !slices.Equal(got, want) {
		t.Errorf("the range is %q", got)
	}
	if again := lists.Load() - first; again > first/2 {
		t.Errorf("%d requests the first time, %d the second: what fits is not remembered", first, again)
	}
	var many [][]byte // together more than an answer
	for i := range 24 {
		many = append(many, fmt.Appendf(nil, "k%02d", i%18))
	}
	items, err := storage.New(b, storage.Settings{}).GetMany(t.Context(), many)
	if err != nil || len(items) != len(many) {
		t.Errorf("%d items, %v", len(items), err)
	}
}

// A range of too many items is refused, with the way out; a page of few bytes is not.
func TestTooManyToBeSorted(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c, func(c *ledger.Config) { c.MaxRangeResults, c.MaxRangeBytes = 100, 1024 })
	var ops []storage.Op
	for i := range 200 {
		ops = append(ops, storage.Put(fmt.Appendf(nil, "%03d", i), bytes.Repeat(bs("v"), 97)))
	}
	apply(t, b, ops...)
	_, err := b.Scan(t.Context(), storage.Query{Start: bs("0"), Limit: 5})
	if e := wantCode(t, err, storage.RangeLimit); e.Limit.Max != 100 || !strings.Contains(e.Error(), "narrower") {
		t.Errorf("the error is %v", e)
	}
	page, err := b.Scan(t.Context(), storage.Query{Start: bs("150")})
	if err != nil || len(page.Items) != 10 || string(page.Next) != "160" {
		t.Errorf("a page has %d items and goes on at %q, %v", len(page.Items), page.Next, err)
	}
	if got := keys(t, b, bs("110"), nil); len(got) != 90 {
		t.Errorf("%d keys", len(got))
	}
}

// A page that takes several requests is of one moment, if there is one in which
// there are no writes.
func TestPagesOfOneMoment(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b, other := open(t, c), open(t, c)
	both := func(value string) {
		apply(t, other, storage.Put([]byte{0x01}, bs(value)), storage.Put([]byte{0xF1}, bs(value)))
	}
	both("0")
	lists := 0
	c.Hook(ledgertest.Hooks{After: afterEach("/ListEntities", func() {
		if lists++; lists == 8 { // between the one key and the other
			both("1")
		}
	})})
	page, err := b.Scan(t.Context(), storage.Query{})
	if err != nil || len(page.Items) != 2 || string(page.Items[0].Value) != string(page.Items[1].Value) {
		t.Errorf("the page is %v, %v", page, err)
	}
	if lists != 32 {
		t.Errorf("it took %d requests", lists)
	}
}
