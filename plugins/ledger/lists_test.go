package ledger_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/internal/ledger/verify"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
)

// emptied writes 60 keys, then, after between, fills a page and empties it: lists of the
// server end there. It returns the keys that are left.
func emptied(t *testing.T, b storage.Backend, between func()) (left []string) {
	t.Helper()
	const page = 20 // of 256
	for i := range 60 {
		key := fmt.Sprintf("k%02d", i)
		if verify.Bucket(fmt.Sprintf("%x", key)) == page {
			continue
		}
		apply(t, b, storage.Put(bs(key), bs("v")))
		left = append(left, key)
	}
	between()
	var fill []string
	for i := 0; len(fill) < 3; i++ {
		if key := fmt.Sprintf("x%d", i); verify.Bucket(fmt.Sprintf("%x", key)) == page {
			apply(t, b, storage.Put(bs(key), make([]byte, 8000)))
			fill = append(fill, key)
		}
	}
	for _, key := range fill {
		apply(t, b, storage.Delete(bs(key)))
	}
	return left
}

// A list without keys that are known to exist is an error, and clears nothing.
func TestListsThatEndAtAnEmptiedPage(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.EmptiedPages = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		if q == nil {
			q = new(ledgertest.Quirks)
			*q = ledgertest.Real()
		}
		q.Audit = false // records would come to lie in the page
		c := cluster(t, ledgertest.Options{Quirks: q})
		b := open(t, c)
		left := emptied(t, b, func() {})
		before := height(t, c)
		clear := &storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(bs("k"), bs("l"))}}
		for name, list := range map[string]func() error{
			"a scan":            func() error { _, err := b.Scan(t.Context(), storage.Query{}); return err },
			"a scan back":       func() error { _, err := b.Scan(t.Context(), storage.Query{Reverse: true}); return err },
			"a scan of a range": func() error { _, err := b.Scan(t.Context(), storage.Query{Start: bs("k"), End: bs("l")}); return err },
		} {
			err := list()
			if e := storage.AsError(err); on && (e == nil || e.Code != storage.Internal || !strings.Contains(e.Error(), "ended early")) || !on && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := b.Apply(t.Context(), clear)
		if (err != nil) != on || on && height(t, c) != before {
			t.Errorf("the clear: %v, at height %d", err, height(t, c))
		}
		// The state of the vault has every key, also those that this store did not write.
		want := map[bool]ledger.State{true: ledger.StateDiffers, false: ledger.StateFits}[on]
		if a, err := open(t, c).Audit(t.Context()); err != nil || a.State != want {
			t.Errorf("the audit says %v, %v; want %v", a.State, err, want)
		}
		if !on {
			return
		}
		// A backend that knows no keys cannot notice.
		if got := keys(t, open(t, c), nil, nil); len(got) >= len(left) {
			t.Errorf("the list has %d of %d", len(got), len(left))
		}
		// If all nodes leave out the same, their comparison finds nothing.
		all, err := b.Compare(t.Context())
		if err != nil || len(all.Differ) > 0 {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

// Keys that others delete, that expire, that are written meanwhile, or that the page
// does not reach make no list an error.
func TestListsAreNotDoubtedWrongly(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b, other := open(t, c), open(t, c)
	want := letters(t, b)
	apply(t, other, storage.Delete(bs("c")), storage.Delete(bs("z")))
	want = slices.DeleteFunc(want, func(k string) bool { return k == "c" || k == "z" })
	for range 2 {
		if got := keys(t, b, nil, nil); !slices.Equal(got, want) {
			t.Errorf("the range is %q", got)
		}
	}
	for _, q := range []storage.Query{{Limit: 5}, {Limit: 5, Reverse: true}, {Start: bs("d"), Limit: 1}, {End: bs("b")}} {
		if page, err := b.Scan(t.Context(), q); err != nil || len(page.Items) != max(q.Limit, 1) {
			t.Errorf("%+v: %d items, %v", q, len(page.Items), err)
		}
	}
	n := 0
	c.Hook(ledgertest.Hooks{After: afterEach("/ListEntities", func() {
		n++
		apply(t, b, storage.Put(fmt.Append(nil, "new", n), bs("v")))
	})})
	if _, err := b.Scan(t.Context(), storage.Query{}); err != nil {
		t.Error(err)
	}
	c.Hook(ledgertest.Hooks{})
	for i := range 5000 / 500 {
		w := &storage.WriteSet{}
		for j := range 500 {
			w.Ops = append(w.Ops, storage.Put(fmt.Append(nil, "many", i, "/", j), bs("v")))
		}
		if _, err := b.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, b, storage.DeleteRange(bs("many0"), bs("many1")))
	if got := keys(t, b, bs("many"), bs("manz")); len(got) != 4500 {
		t.Errorf("%d keys", len(got))
	}
}

// The nodes are compared by what each has itself.
func TestCompare(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b := open(t, c, quickly)
	letters(t, b)
	all, err := b.Compare(t.Context())
	if err != nil || len(all.Differ) > 0 || len(all.Nodes) != 3 || all.Nodes[2].Listed != 26 || all.Nodes[2].Height != 26 {
		t.Errorf("%+v, %v", all, err)
	}
	c.Node(1).Isolate()
	apply(t, b, storage.Put(bs("b"), bs("another")), storage.Delete(bs("c")), storage.Put(bs("new\x00"), nil))
	if all, err = b.Compare(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []ledger.Difference{{Key: "b", Has: []int{1, 2, 1}}, {Key: "c", Has: []int{0, 1, 0}}, {Key: "new\x00", Has: []int{1, 0, 1}}}
	if !slices.EqualFunc(all.Differ, want, func(x, y ledger.Difference) bool { return x.Key == y.Key && slices.Equal(x.Has, y.Has) }) {
		t.Errorf("they differ in %+v", all.Differ)
	}
	if err := c.Node(2).Stop(); err != nil {
		t.Fatal(err)
	}
	if all, err = b.Compare(t.Context()); err != nil || all.Nodes[2].Err == nil || len(all.Differ) != 3 || all.Differ[0].Has[2] != -1 {
		t.Errorf("with one gone: %+v, %v", all, err)
	}
	c.Node(1).Rejoin()
}

// A node whose list ends early is found out by the lists of the others.
func TestCompareOfListsThatEndEarly(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 2, Quirks: without(func(q *ledgertest.Quirks) { q.Audit = false })})
	b := open(t, c)
	left := emptied(t, open(t, c, func(l *ledger.Config) { l.Endpoints = l.Endpoints[:1] }), c.Node(1).Isolate) // from there on its pages are its own
	all, err := b.Compare(t.Context())
	if err != nil || len(all.Differ) > 0 {
		t.Errorf("%+v, %v", all, err)
	}
	if first := all.Nodes[0]; first.Unlisted == 0 || first.Unlisted+first.Listed != len(left) || all.Nodes[1].Unlisted > 0 {
		t.Errorf("of %d: %+v", len(left), all.Nodes)
	}
	c.Node(1).Rejoin()
}

// Blocks that were not archived cannot be checked, which is no tampering.
func TestBlocksThatAreNotArchived(t *testing.T) {
	both(t, func(q *ledgertest.Quirks) { q.Unarchived = false }, func(t *testing.T, q *ledgertest.Quirks, on bool) {
		c := cluster(t, ledgertest.Options{Quirks: q})
		b := open(t, c)
		for i := range 3 {
			w := &storage.WriteSet{}
			for j := range 4 {
				w.Ops = append(w.Ops, storage.Put(fmt.Append(nil, i, j), make([]byte, 5000)))
			}
			if _, err := b.Apply(t.Context(), w); err != nil {
				t.Fatal(err)
			}
		}
		r, err := b.Verify(t.Context(), 0, 0, nil)
		if err != nil || !r.OK() || (r.Unarchived() == 3) != on {
			t.Errorf("the report is %+v, %v", r, err)
		}
		want := map[bool]ledger.State{true: ledger.StateUnchecked, false: ledger.StateFits}[on]
		if a, err := b.Audit(t.Context()); err != nil || a.State != want {
			t.Errorf("the audit is %s, %v", a.State, err)
		}
		if _, err := b.Block(t.Context(), 2); errors.Is(err, storage.ErrNotFound) != on {
			t.Errorf("the block: %v", err)
		}
	})
}

// What does not fit a page is a size limit in the server's words.
func TestValuesThatFillAPage(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c, func(l *ledger.Config) { l.MaxValue = 32 << 10 })
	_, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), make([]byte, 20_000))}})
	if e := wantCode(t, err, storage.SizeLimit); e.Unknown || !strings.Contains(e.Error(), "Page is full") || !strings.Contains(e.Error(), "max_value") {
		t.Errorf("the error is %v", e)
	}
	if got := open(t, c).Info().Limits.Value; got != 8<<10 {
		t.Errorf("the default is %d", got)
	}
	for _, bad := range []any{0, -1, "5MB"} {
		_, err := configured(t, map[string]any{"endpoints": c.Endpoints(), "organization": ledgertest.Organization, "vault": ledgertest.Vault, "max_value": bad})
		if e := wantCode(t, err, storage.InvalidArgument); e.ConfigPath != "max_value" {
			t.Errorf("%v: at %q: %v", bad, e.ConfigPath, e)
		}
	}
}

// Followers whose refusals lack the endpoint are gone around.
func TestRefusalsWithoutAnEndpoint(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	for i := range 9 {
		c.Lead(i % 3)
		b := open(t, c)
		apply(t, b, storage.Put(bs("k"), fmt.Append(nil, i)))
		wantValue(t, b, "k", fmt.Sprint(i))
	}
}
