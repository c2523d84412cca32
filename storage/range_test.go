package storage_test

import (
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

func TestRangeOptions(t *testing.T) {
	s, _ := newModel(t)
	fill(t, s, "a", "b", "c", "d", "e")
	b := func(s string) []byte { return []byte(s) }
	for _, c := range []struct {
		start, end []byte
		o          storage.RangeOptions
		want       string
	}{
		{nil, nil, storage.RangeOptions{}, "abcde"},
		{b("b"), b("d"), storage.RangeOptions{}, "bc"},
		{b("d"), b("b"), storage.RangeOptions{}, ""},
		{nil, b(""), storage.RangeOptions{}, ""},
		{nil, nil, storage.RangeOptions{Limit: 2}, "ab"},
		{nil, nil, storage.RangeOptions{Limit: 9}, "abcde"},
		{nil, nil, storage.RangeOptions{Reverse: true}, "edcba"},
		{b("b"), b("e"), storage.RangeOptions{Reverse: true, Limit: 2}, "dc"},
		// After goes on behind what was seen, in either direction, and never
		// widens the range.
		{nil, nil, storage.RangeOptions{After: b("b")}, "cde"},
		{nil, nil, storage.RangeOptions{After: b("")}, "abcde"},
		{nil, nil, storage.RangeOptions{After: b("bb")}, "cde"},
		{b("c"), nil, storage.RangeOptions{After: b("a")}, "cde"},
		{nil, b("d"), storage.RangeOptions{After: b("x")}, ""},
		{nil, nil, storage.RangeOptions{After: b("e")}, ""},
		{nil, nil, storage.RangeOptions{After: b("d"), Reverse: true}, "cba"},
		{nil, b("c"), storage.RangeOptions{After: b("x"), Reverse: true}, "ba"},
		{nil, nil, storage.RangeOptions{After: b(""), Reverse: true}, ""},
		{b("b"), nil, storage.RangeOptions{After: b("d"), Reverse: true, Limit: 1}, "c"},
	} {
		for _, page := range []int{0, 1, 2, 3} {
			c.o.PageItems = page
			for name, seq := range map[string]func(func(storage.Item, error) bool){
				"Store": s.Range(t.Context(), c.start, c.end, c.o),
				"Txn":   s.Begin(storage.Serializable).Range(t.Context(), c.start, c.end, c.o),
			} {
				got := ""
				for it, err := range seq {
					must(t, err)
					got += string(it.Key)
				}
				if got != c.want {
					t.Errorf("%s: [%q, %q) with %+v is %q, want %q", name, c.start, c.end, c.o, got, c.want)
				}
			}
		}
	}
}

// A sequence can be used once, also one that was left early.
func TestRangeIsSingleUse(t *testing.T) {
	s, _ := newModel(t)
	fill(t, s, "a", "b")
	for name, seq := range map[string]func(func(storage.Item, error) bool){
		"Store": s.Range(t.Context(), nil, nil, storage.RangeOptions{}),
		"Txn":   s.Begin(storage.Serializable).Range(t.Context(), nil, nil, storage.RangeOptions{}),
	} {
		for it, err := range seq {
			must(t, err)
			if string(it.Key) != "a" {
				t.Errorf("%s: the first is %q", name, it.Key)
			}
			break
		}
		n := 0
		for _, err := range seq {
			n++
			wantCode(t, err, storage.InvalidArgument)
		}
		if n != 1 {
			t.Errorf("%s: a second loop runs %d times", name, n)
		}
	}
}

// Pages are asked for as they are needed, with no more than the limit.
func TestRangeAsksForNoMoreThanItNeeds(t *testing.T) {
	for _, c := range []struct {
		o     storage.RangeOptions
		leave int
		want  []int // limits of the pages asked for
	}{
		{storage.RangeOptions{PageItems: 3, Limit: 7}, 0, []int{3, 3, 1}},
		{storage.RangeOptions{PageItems: 3}, 4, []int{3, 3}},
		{storage.RangeOptions{Limit: 2}, 0, []int{2}},
		{storage.RangeOptions{PageItems: 5, Limit: 5}, 0, []int{5}},
	} {
		var asked []int
		b := &stub{scan: func(q storage.Query) (page storage.Page, err error) {
			asked = append(asked, q.Limit)
			for i := range q.Limit {
				page.Items = append(page.Items, storage.Item{Key: append(slices.Clone(q.Start), byte(i))})
			}
			page.Next = storage.After(page.Items[q.Limit-1].Key)
			return page, nil
		}}
		n := 0
		for _, err := range storage.New(b, storage.Settings{}).Range(t.Context(), nil, nil, c.o) {
			must(t, err)
			if n++; n == c.leave {
				break
			}
		}
		if !slices.Equal(asked, c.want) {
			t.Errorf("%+v, left after %d: pages of %d, want %d", c.o, c.leave, asked, c.want)
		}
	}
}

// A backend whose pages do not go on ends the loop with an error, not never.
func TestRangeOverABackendThatDoesNotAdvance(t *testing.T) {
	for _, c := range []struct {
		name    string
		reverse bool
		next    string
		ok      bool
	}{
		{"forward", false, "c", true}, {"to its end", false, "m", true}, {"the same", false, "b", false}, {"back", false, "a", false}, {"beyond the end", false, "n", false},
		{"backward", true, "c", true}, {"to its start", true, "b", true}, {"the same end", true, "m", false}, {"on", true, "n", false}, {"beyond the start", true, "a", false},
	} {
		pages := 0
		b := &stub{info: *able(), scan: func(q storage.Query) (storage.Page, error) {
			if pages++; pages > 1 {
				return storage.Page{}, nil
			}
			return storage.Page{Next: []byte(c.next)}, nil
		}}
		var failed error
		for _, err := range storage.New(b, storage.Settings{}).Range(t.Context(), []byte("b"), []byte("m"), storage.RangeOptions{Reverse: c.reverse}) {
			failed = err
		}
		if c.ok != (failed == nil) || failed != nil && storage.CodeOf(failed) != storage.Internal {
			t.Errorf("%s: Next is %q: %v", c.name, c.next, failed)
		}
	}
}

func TestRangeErrors(t *testing.T) {
	s, _ := newModel(t)
	plain := storage.New(&stub{}, storage.Settings{})
	for _, c := range []struct {
		name string
		seq  func(func(storage.Item, error) bool)
		want storage.Code
	}{
		{"a negative limit", s.Range(t.Context(), nil, nil, storage.RangeOptions{Limit: -1}), storage.InvalidArgument},
		{"a negative page", s.Range(t.Context(), nil, nil, storage.RangeOptions{PageItems: -1}), storage.InvalidArgument},
		{"in a transaction", s.Begin(0).Range(t.Context(), nil, nil, storage.RangeOptions{Limit: -1}), storage.InvalidArgument},
		{"a snapshot that the backend has not", plain.Range(t.Context(), nil, nil, storage.RangeOptions{Snapshot: true}), storage.Unsupported},
		{"serializable without range checks", plain.Begin(storage.Serializable).Prefix(t.Context(), nil, storage.RangeOptions{}), storage.Unsupported},
	} {
		n := 0
		for it, err := range c.seq {
			if n++; storage.CodeOf(err) != c.want || it.Key != nil {
				t.Errorf("%s: %q, %v, want %s", c.name, it.Key, err, c.want)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d rounds", c.name, n)
		}
	}
}

// An error comes last, after the items of the pages before it.
func TestRangeEndsWithTheError(t *testing.T) {
	pages := 0
	b := &stub{scan: func(q storage.Query) (storage.Page, error) {
		if pages++; pages == 3 {
			return storage.Page{}, storage.ErrUnavailable
		}
		return storage.Page{Items: []storage.Item{{Key: fmt.Append(nil, pages)}}, Next: fmt.Append(nil, pages+1)}, nil
	}}
	got := ""
	for it, err := range storage.New(b, storage.Settings{}).Range(t.Context(), nil, nil, storage.RangeOptions{}) {
		if err != nil {
			wantCode(t, err, storage.Unavailable)
			got += "!"
			continue
		}
		got += string(it.Key)
	}
	if got != "12!" {
		t.Errorf("%q", got)
	}
}

// A backend with endless empty pages ends the loop with an error, in
// every place that reads pages.
func TestRangeOverEmptyPagesWithoutEnd(t *testing.T) {
	for _, reverse := range []bool{false, true} {
		pages := 0
		b := &stub{info: *able(), scan: func(q storage.Query) (storage.Page, error) {
			if pages++; pages > 1_000_000 {
				t.Fatal("it goes on indefinitely")
			}
			if !reverse {
				return storage.Page{Next: fmt.Appendf(nil, "a%08d", pages)}, nil
			}
			return storage.Page{Next: fmt.Appendf(nil, "a%08d", 99_999_999-pages)}, nil
		}}
		s := storage.New(b, storage.Settings{})
		o := storage.RangeOptions{Reverse: reverse}
		for name, items := range map[string]iter.Seq2[storage.Item, error]{
			"store": s.Range(t.Context(), []byte("a"), []byte("b"), o), "transaction": s.Begin(storage.ReadCommitted).Range(t.Context(), []byte("a"), []byte("b"), o),
		} {
			pages = 0
			var failed error
			for _, err := range items {
				failed = err
			}
			if storage.CodeOf(failed) != storage.Internal {
				t.Errorf("%s, reverse %v: %v after %d pages", name, reverse, failed, pages)
			}
		}
	}
}
