//go:build unix

package etcd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/storage"
)

// A version is scanned until the cluster compacts it.
func TestCompacted(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, "old/")
	for i := range 10 {
		if err := set(b, fmt.Sprint(i), "1"); err != nil {
			t.Fatal(err)
		}
	}
	page, err := b.Scan(t.Context(), storage.Query{Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := set(b, "5", "2"); err != nil {
		t.Fatal(err)
	}
	next, err := b.Scan(t.Context(), storage.Query{Start: page.Next, AtVersion: page.Version})
	if err != nil || len(next.Items) != 7 || string(next.Items[2].Value) != "1" || next.Version != page.Version {
		t.Fatalf("%v, %v", next, err)
	}
	if _, err := b.client.Compact(t.Context(), int64(page.Version+1)); err != nil {
		t.Fatal(err)
	}
	_, err = b.Scan(t.Context(), storage.Query{Start: page.Next, AtVersion: page.Version})
	wantCode(t, "a page", err, storage.Conflict, "compacted")
	_, err = b.Scan(t.Context(), storage.Query{AtVersion: page.Version + 1000})
	wantCode(t, "a page of the future", err, storage.Conflict, "does not exist yet")
}

// The last pages of a large range, backwards, are found without having the cluster sort all
// of it.
func TestReverseOfMany(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, "back/")
	const n = 12_000
	for i := 0; i < n; {
		w := &storage.WriteSet{}
		for ; i < n && len(w.Ops) < 120; i++ {
			w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "shared/by/all/%06d", i), nil))
		}
		if _, err := b.Apply(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	q, next := storage.Query{Reverse: true}, n
	for {
		page, err := b.Scan(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			if next--; string(it.Key) != fmt.Sprintf("shared/by/all/%06d", next) {
				t.Fatalf("%s where %d was to be", it.Key, next)
			}
		}
		if page.Next == nil {
			break
		}
		q.End, q.AtVersion = page.Next, page.Version
	}
	if next != 0 {
		t.Errorf("%d are missing", next)
	}
}

// Large values are read in steps that fit, without any being known before.
func TestLargeValues(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, "large/")
	var keys [][]byte
	for i := range 40 {
		keys = append(keys, fmt.Appendf(nil, "%02d", i))
		if err := set(b, string(keys[i]), strings.Repeat("v", 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	b.weight.Store(64)
	items := 0
	for q := (storage.Query{MaxBytes: 8 << 20}); ; {
		page, err := b.Scan(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if items += len(page.Items); page.Next == nil {
			break
		}
		q.Start = page.Next
	}
	if items != len(keys) {
		t.Errorf("%d items", items)
	}
	got, err := b.GetMany(t.Context(), keys)
	if err != nil || len(got) != len(keys) {
		t.Errorf("%d items, %v", len(got), err)
	}
	_, err = b.GetMany(t.Context(), append(append([][]byte{}, keys...), keys...))
	wantCode(t, "80 MiB", err, storage.RangeLimit, "answer bytes")
}
