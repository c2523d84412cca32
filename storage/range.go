package storage

import (
	"bytes"
	"context"
	"iter"
)

// RangeOptions configure [Store.Range].
type RangeOptions struct {
	Limit    int  // maximum number of items; 0 means no limit
	Reverse  bool // from the end; requires [CapReverse]
	KeysOnly bool // omit values
	// After, if not nil, resumes a scan: it is the last key seen, and only keys beyond
	// it, in the direction of the scan, follow.
	After []byte
	// PageItems limits the number of items per page. If zero, the backend decides.
	PageItems int
	// PageBytes limits the bytes of keys and values per page; the first item of a page may be
	// larger. If zero, the backend decides.
	PageBytes int
	// Snapshot reads all pages at the version of the first. It requires
	// [CapSnapshotScan], and fails once the backend no longer keeps that version.
	Snapshot bool
	// AtVersion, if not 0, is the version at which all pages are read, as
	// [Query.AtVersion]. It requires [CapSnapshotScan].
	AtVersion uint64
}

// Range iterates over the live items in [start, end) in byte order; if end is nil, the
// range is unbounded. Each page is one state of the store; the whole range is one only
// with Snapshot. An error is the last thing yielded. The sequence is for single use: a
// second loop over it yields InvalidArgument. Nothing is held while the loop's body runs,
// and leaving the loop leaves nothing behind. The items belong to the caller; start, end
// and After are borrowed until the loop ends.
func (s *Store) Range(ctx context.Context, start, end []byte, o RangeOptions) iter.Seq2[Item, error] {
	used := false
	return func(yield func(Item, error) bool) {
		if used {
			yield(Item{}, errUsedRange())
			return
		}
		used = true
		c, err := newCursor(s.b.Info(), start, end, o)
		if err != nil {
			yield(Item{}, err)
			return
		}
		for !c.done {
			items, err := c.next(ctx, s.b)
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, it := range items {
				if !yield(it, nil) {
					return
				}
			}
		}
	}
}

// Prefix iterates like [Store.Range] over all keys that begin with prefix.
func (s *Store) Prefix(ctx context.Context, prefix []byte, o RangeOptions) iter.Seq2[Item, error] {
	return s.Range(ctx, prefix, PrefixEnd(prefix), o)
}

func errUsedRange() error { return Errorf(InvalidArgument, "a range can be read once only") }

// cursor walks a range page by page.
type cursor struct {
	q        Query
	left     int // items; 0 means no limit
	snapshot bool
	done     bool
	// from and to bound the page that next returned last, version is its own.
	from, to []byte
	version  uint64
	empty    int // pages without items, in a row
}

// mostEmpty limits how many pages in a row may be without items. A backend that passes over
// more must do so in longer steps: one that continues indefinitely would block the reader.
const mostEmpty = 4096

func newCursor(info Info, start, end []byte, o RangeOptions) (cursor, error) {
	if (o.Snapshot || o.AtVersion != 0) && !info.Caps.Has(CapSnapshotScan) {
		return cursor{}, Errorf(Unsupported, "the backend cannot scan a snapshot")
	}
	if o.Limit < 0 || o.PageItems < 0 {
		return cursor{}, Errorf(InvalidArgument, "a range limit is negative")
	}
	c := cursor{left: o.Limit, snapshot: o.Snapshot,
		q: Query{Start: start, End: end, Reverse: o.Reverse, KeysOnly: o.KeysOnly, Limit: o.PageItems, MaxBytes: max(o.PageBytes, 0), AtVersion: o.AtVersion}}
	if o.After != nil {
		if o.Reverse {
			if end == nil || bytes.Compare(o.After, end) < 0 {
				c.q.End = o.After
			}
		} else if bytes.Compare(o.After, start) >= 0 {
			c.q.Start = After(o.After)
		}
	}
	c.done = EmptyRange(c.q.Start, c.q.End)
	return c, nil
}

// next returns the items of the next page, none beyond the limit, and moves on.
func (c *cursor) next(ctx context.Context, b Backend) ([]Item, error) {
	q := c.q
	if c.left > 0 && (q.Limit == 0 || q.Limit > c.left) {
		q.Limit = c.left
	}
	page, err := b.Scan(ctx, q)
	if err != nil {
		return nil, err
	}
	c.from, c.to, c.version = q.Start, q.End, page.Version
	if err := c.advance(page.Next); err != nil {
		return nil, err
	}
	if c.empty++; len(page.Items) > 0 {
		c.empty = 0
	} else if !c.done && c.empty >= mostEmpty {
		return nil, Errorf(Internal, "the backend's scan gave %d pages in a row without an item", c.empty)
	}
	if c.snapshot && q.AtVersion == 0 {
		c.q.AtVersion = page.Version
	}
	if c.left > 0 {
		if len(page.Items) >= c.left {
			page.Items, c.done = page.Items[:c.left], true
		}
		c.left -= len(page.Items)
	}
	return page.Items, nil
}

// advance moves the bound to next, which must lie inside the range and make it smaller:
// otherwise the loop would never end.
func (c *cursor) advance(next []byte) error {
	if next == nil {
		c.done = true
		return nil
	}
	bound := &c.q.Start
	ok := bytes.Compare(next, c.q.Start) > 0 && (c.q.End == nil || bytes.Compare(next, c.q.End) <= 0)
	if c.q.Reverse {
		bound = &c.q.End
		ok = bytes.Compare(next, c.q.Start) >= 0 && (c.q.End == nil || bytes.Compare(next, c.q.End) < 0)
	}
	if !ok {
		return Errorf(Internal, "the backend's scan does not advance")
	}
	*bound = next
	if c.q.Reverse {
		c.from = next
	} else {
		c.to = next
	}
	c.done = EmptyRange(c.q.Start, c.q.End)
	return nil
}
