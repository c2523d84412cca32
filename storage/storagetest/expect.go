package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// bs is short for the bytes of a literal; never nil.
func bs(s string) []byte { return append([]byte{}, s...) }

// must ends the check on an error.
func (t *T) must(err error) {
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// wantCode demands that err has the code, and returns it as an *Error.
func (t *T) wantCode(err error, want storage.Code) *storage.Error {
	var e *storage.Error
	var c storage.Code
	switch {
	case err == nil && want != storage.OK:
		t.Fatalf("no error, want %s", want.Name())
	case err != nil && !errors.As(err, &e) && !errors.As(err, &c):
		t.Fatalf("error %v (%T) is no *storage.Error and no storage.Code, want %s", err, err, want.Name())
	case storage.CodeOf(err) != want:
		t.Fatalf("error %v, want %s", err, want.Name())
	}
	return storage.AsError(err)
}

// apply does ops under no condition, and returns the version.
func (t *T) apply(ops ...storage.Op) uint64 {
	v, err := t.b.Apply(t.ctx, &storage.WriteSet{Ops: ops})
	t.must(err)
	return v
}

// try applies ops if checks hold.
func (t *T) try(checks []storage.Check, ops ...storage.Op) error {
	_, err := t.b.Apply(t.ctx, &storage.WriteSet{Checks: checks, Ops: ops})
	return err
}

func (t *T) set(key, value string) { t.must(t.s.Set(t.ctx, bs(key), bs(value))) }

func (t *T) setTTL(key, value string, ttl time.Duration) {
	t.must(errOf(t.s.Put(t.ctx, bs(key), bs(value), storage.WithTTL(ttl))))
}

func (t *T) del(key string) { t.must(t.s.Delete(t.ctx, bs(key))) }

// setAll puts each of keys with itself as value, without an expiry.
func (t *T) setAll(keys ...string) {
	for _, k := range keys {
		t.set(k, k)
	}
}

// item returns the live item at key.
func (t *T) item(key string) storage.Item {
	it, err := t.b.Get(t.ctx, bs(key))
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	return it
}

// wantValue demands that key is live and holds value.
func (t *T) wantValue(key, value string) {
	it, err := t.b.Get(t.ctx, bs(key))
	if err != nil {
		t.Fatalf("Get(%q): %v, want the value %s", key, err, quote(bs(value)))
	}
	if string(it.Value) != value {
		t.Fatalf("Get(%q) = %s, want %s", key, quote(it.Value), quote(bs(value)))
	}
	if it.Value == nil {
		t.Fatalf("Get(%q): the value is nil, want it empty", key)
	}
}

// wantAbsent demands that every way to read says that key is not there.
func (t *T) wantAbsent(keys ...string) {
	for _, key := range keys {
		it, err := t.b.Get(t.ctx, bs(key))
		if !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("Get(%q) = %s, %v, want not found", key, quote(it.Value), err)
		}
		items, err := t.b.GetMany(t.ctx, [][]byte{bs(key)})
		if err != nil || len(items) != 0 {
			t.Fatalf("GetMany(%q) = %d items, %v, want none", key, len(items), err)
		}
		page, err := t.b.Scan(t.ctx, storage.Query{Start: bs(key), End: storage.After(bs(key))})
		if err != nil || len(page.Items) != 0 {
			t.Fatalf("a scan of %q alone = %d items, %v, want none", key, len(page.Items), err)
		}
	}
}

// all returns the items that a walk over the pages of q gives. Each page is held to
// the rules of pages.
func (t *T) all(q storage.Query) (items []storage.Item) {
	left := q.Limit
	for {
		if q.Limit = left - len(items); left == 0 {
			q.Limit = 0
		}
		page, err := t.b.Scan(t.ctx, q)
		if err != nil {
			t.Fatalf("scan %s: %v", showQuery(q), err)
		}
		t.wantPage(q, page)
		items = append(items, page.Items...)
		if page.Next == nil || left > 0 && len(items) >= left {
			return items
		}
		if q.Reverse {
			q.End = page.Next
		} else {
			q.Start = page.Next
		}
	}
}

// wantPage holds a page to the rules: order, bounds, limit, and a Next that goes on.
func (t *T) wantPage(q storage.Query, page storage.Page) {
	show := showQuery(q)
	if q.Limit > 0 && len(page.Items) > q.Limit {
		t.Fatalf("scan %s: %d items", show, len(page.Items))
	}
	for i, it := range page.Items {
		if !storage.InRange(it.Key, q.Start, q.End) {
			t.Fatalf("scan %s: the key %q is outside of it", show, it.Key)
		}
		if i > 0 && (bytes.Compare(page.Items[i-1].Key, it.Key) >= 0) != q.Reverse {
			t.Fatalf("scan %s: %q comes before %q", show, page.Items[i-1].Key, it.Key)
		}
		if q.KeysOnly != (it.Value == nil) {
			t.Fatalf("scan %s: the value of %q is nil: %t", show, it.Key, it.Value == nil)
		}
	}
	if page.Next == nil {
		return
	}
	from, to := q.Start, q.End
	if last := len(page.Items) - 1; last >= 0 && !q.Reverse {
		from = page.Items[last].Key
	} else if last >= 0 {
		to = page.Items[last].Key
	}
	ahead := bytes.Compare(page.Next, from) > 0 && (to == nil || bytes.Compare(page.Next, to) <= 0)
	if q.Reverse {
		ahead = bytes.Compare(page.Next, from) >= 0 && (to == nil || bytes.Compare(page.Next, to) <= 0) && !bytes.Equal(page.Next, q.End)
	}
	if !ahead {
		t.Fatalf("scan %s: Next is %q after %s: it does not go on from there", show, page.Next, keysOf(page.Items))
	}
}

// wantKeys demands that exactly these keys are live in [start, end), each way
// that a range can be read.
func (t *T) wantKeys(start, end []byte, want ...string) {
	for _, q := range []storage.Query{
		{Start: start, End: end},
		{Start: start, End: end, Limit: 1},
		{Start: start, End: end, KeysOnly: true, Limit: 2},
		{Start: start, End: end, MaxBytes: 1},
	} {
		if q.Limit > 0 { // the limit of a page, not of the walk
			t.wantWalk(q, want)
		} else {
			t.wantItems("scan "+showQuery(q), t.all(q), want)
		}
	}
	if t.has(storage.CapReverse) {
		slices.Reverse(want)
		q := storage.Query{Start: start, End: end, Reverse: true}
		t.wantItems("scan "+showQuery(q), t.all(q), want)
		q.Limit = 2
		t.wantWalk(q, want)
		slices.Reverse(want)
	}
}

// wantWalk demands that the pages of q together have exactly the keys wanted.
func (t *T) wantWalk(q storage.Query, want []string) {
	var items []storage.Item
	for at := q; ; {
		page, err := t.b.Scan(t.ctx, at)
		t.must(err)
		t.wantPage(at, page)
		items = append(items, page.Items...)
		if page.Next == nil {
			break
		}
		if q.Reverse {
			at.End = page.Next
		} else {
			at.Start = page.Next
		}
	}
	t.wantItems("the pages of "+showQuery(q), items, want)
}

// wantItems demands that items have these keys, and names the first that is wrong.
func (t *T) wantItems(what string, items []storage.Item, want []string) {
	for i, it := range items {
		if i >= len(want) {
			t.Fatalf("%s = %s, want %s: item %d, %q, is too much", what, keysOf(items), keyList(want), i+1, it.Key)
		}
		if string(it.Key) != want[i] {
			t.Fatalf("%s = %s, want %s: item %d is %q, want %q", what, keysOf(items), keyList(want), i+1, it.Key, want[i])
		}
	}
	if n := len(items); n < len(want) {
		t.Fatalf("%s = %s, want %s: item %d, %q, is missing", what, keysOf(items), keyList(want), n+1, want[n])
	}
}

// numbered returns n keys: numbers in that format.
func numbered(format string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(format, i)
	}
	return keys
}

func keysOf(items []storage.Item) string {
	keys := make([]string, len(items))
	for i := range items {
		keys[i] = string(items[i].Key)
	}
	return keyList(keys)
}

func keyList(keys []string) string {
	if len(keys) > 20 {
		return fmt.Sprintf("%d keys %q … %q", len(keys), keys[:8], keys[len(keys)-8:])
	}
	return fmt.Sprintf("%q", keys)
}

func showQuery(q storage.Query) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s, ", quote(q.Start))
	if q.End == nil {
		b.WriteString("∞)")
	} else {
		fmt.Fprintf(&b, "%s)", quote(q.End))
	}
	if q.Limit > 0 {
		fmt.Fprintf(&b, " limit %d", q.Limit)
	}
	if q.MaxBytes > 0 {
		fmt.Fprintf(&b, " max bytes %d", q.MaxBytes)
	}
	if q.Reverse {
		b.WriteString(" reverse")
	}
	if q.KeysOnly {
		b.WriteString(" keys only")
	}
	if q.AtVersion > 0 {
		fmt.Fprintf(&b, " at version %d", q.AtVersion)
	}
	return b.String()
}

// quote returns a value as messages show it: not more of it than one can read.
func quote(v []byte) string {
	if len(v) > 40 {
		return fmt.Sprintf("%q… (%d bytes)", v[:24], len(v))
	}
	return fmt.Sprintf("%q", v)
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
