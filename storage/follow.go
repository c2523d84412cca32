package storage

import (
	"context"
	"iter"
	"time"
)

// ChangesOptions say where a [Follower] begins, and how it reads.
type ChangesOptions struct {
	// After is the version to continue from: the Version of an earlier follower, of a page
	// of a scan, or of a write.
	After uint64
	// FromNow begins at the current version, and ignores After.
	FromNow bool
	// FromScan begins with the state of the range, as puts, and continues with what changed
	// since: without a gap, and nothing twice. It ignores After and FromNow.
	FromScan bool
	// Wait limits how long one call waits for a change. If zero, 30 s.
	Wait time.Duration
	// PageChanges and PageBytes limit how many changes, and bytes of keys and values, one
	// call requests; by default the backend's page size. A page holds whole write sets, so
	// it may have more.
	PageChanges, PageBytes int
}

// usualWait is how long a follower waits in one call; lagWait, while it scans.
const (
	usualWait = 30 * time.Second
	lagWait   = 20 * time.Millisecond
)

// Changes returns a follower of the changes in [start, end), nil end: unbounded. The backend
// must have [CapChanges]. Nothing is called before the follower is used. start and end are
// borrowed for as long as it is used.
//
//	f := store.Changes(nil, nil, storage.ChangesOptions{FromScan: true})
//	for change, err := range f.All(ctx) {
//		…
//	}
func (s *Store) Changes(start, end []byte, o ChangesOptions) *Follower {
	if o.Wait == 0 {
		o.Wait = usualWait
	}
	return &Follower{b: s.b, start: start, end: end, o: o, after: o.After}
}

// Follower reads the changes of a range, one page after the other. It keeps one page in
// memory at most, and the backend keeps nothing for it: a slow reader delays no other, but
// falls behind until [ErrVersionGone] ends it. It is for one goroutine at a time.
//
// After an error, the next call continues where the follower was. After ErrVersionGone, make
// another one from a scan.
type Follower struct {
	b          Backend
	start, end []byte
	o          ChangesOptions

	begun       bool
	incarnation [16]byte
	after       uint64   // all changes up to it were given
	scan        *cursor  // the rest of the scan, or nil
	seen        bool     // the scan has a page, at version after
	items       []Item   // of the page of the scan that is next
	at          uint64   // the version of that page
	full        bool     // there is such a page
	lags        bool     // the changes were not yet known up to it
	rest        []Change // that All has not given yet, up to next
	next        uint64
	state       bool // rest is of the scan
}

// Version returns the version up to which all changes were given: the After of a follower
// that continues here. It returns false while the state is still being scanned, which cannot
// be continued, and before the first page. In a loop over All the change in hand counts as
// given, though its write set does only with the last change of it.
func (f *Follower) Version() (uint64, bool) {
	return f.after, f.begun && f.scan == nil && !(f.state && len(f.rest) > 0)
}

// Page returns the next page: whole write sets, and the version up to which they go. It waits
// for a change as the options say; then an empty page says how far the store has come. Pages
// of the state come first, as puts with the versions of their items, if the options say so:
// until Version returns true, their Next says nothing.
func (f *Follower) Page(ctx context.Context) (ChangePage, error) {
	if err := f.begin(ctx); err != nil {
		return ChangePage{}, err
	}
	if f.scan != nil {
		return f.scanned(ctx)
	}
	page, err := f.changes(ctx, f.end, f.o.Wait)
	if err != nil {
		return ChangePage{}, err
	}
	f.after = page.Next
	return page, nil
}

// All iterates over the changes until ctx ends, which is the last error that it yields, or
// another error occurs. A loop that is left can be continued by another one.
func (f *Follower) All(ctx context.Context) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for {
			for len(f.rest) > 0 {
				c := f.rest[0]
				if f.rest = f.rest[1:]; len(f.rest) == 0 {
					f.after = f.next
				} else if !f.state && f.rest[0].Version > c.Version {
					f.after = c.Version
				}
				if !yield(c, nil) {
					return
				}
			}
			before, scans := f.after, f.o.FromScan && (!f.begun || f.scan != nil)
			page, err := f.Page(ctx)
			if err != nil {
				yield(Change{}, err)
				return
			}
			if f.rest, f.next, f.state = page.Changes, f.after, scans; len(f.rest) > 0 && !scans {
				f.after = before
			}
		}
	}
}

// begin learns where to begin.
func (f *Follower) begin(ctx context.Context) error {
	info := f.b.Info()
	switch {
	case !info.Caps.Has(CapChanges):
		return Errorf(Unsupported, "the backend has no changes")
	case f.begun && info.Incarnation != f.incarnation:
		return Errorf(VersionGone, "the backend lost its state since version %d: scan again", f.after)
	case f.begun:
		return nil
	}
	if f.o.FromNow || f.o.FromScan {
		page, err := f.b.Changes(ctx, ChangeQuery{Start: f.start, End: f.end, FromNow: true})
		if err != nil {
			return err
		}
		f.after = page.Next
	}
	if f.o.FromScan {
		c, err := newCursor(info, f.start, f.end, RangeOptions{PageItems: f.o.PageChanges, PageBytes: f.o.PageBytes})
		if err != nil {
			return err
		}
		if !c.done {
			f.scan = &c
		}
	}
	f.incarnation, f.begun = info.Incarnation, true
	return nil
}

// changes asks for the changes in [start, end).
func (f *Follower) changes(ctx context.Context, end []byte, wait time.Duration) (ChangePage, error) {
	page, err := f.b.Changes(ctx, ChangeQuery{Start: f.start, End: end, After: f.after, Limit: f.o.PageChanges, MaxBytes: f.o.PageBytes, Wait: wait})
	if err == nil && page.Next < f.after {
		err = Errorf(Internal, "the backend's changes go back from version %d to %d", f.after, page.Next)
	}
	return page, err
}

// scanned returns a page of the state. Each page of the scan is of its own version: what changed
// between two of them in the keys before it is given first.
func (f *Follower) scanned(ctx context.Context) (ChangePage, error) {
	if !f.full {
		items, err := f.scan.next(ctx, f.b)
		if err != nil {
			return ChangePage{}, err
		}
		f.items, f.at, f.full = items, f.scan.version, true
	}
	if f.seen && f.after < f.at {
		wait := time.Duration(0) // they are there, unless a write before them is still under way
		if f.lags {
			wait = lagWait
		}
		page, err := f.changes(ctx, f.scan.from, wait)
		if err != nil {
			return ChangePage{}, err
		}
		page = upTo(page, f.at)
		f.lags = len(page.Changes) == 0 && page.Next < f.at
		f.after = page.Next
		if len(page.Changes) > 0 || f.after < f.at {
			return page, nil
		}
	}
	page := ChangePage{Changes: make([]Change, 0, len(f.items)), Next: f.at}
	for _, it := range f.items {
		page.Changes = append(page.Changes, Change{Kind: ChangePut, Key: it.Key, Value: it.Value, Version: it.Version, ExpiresAt: it.ExpiresAt})
	}
	f.items, f.full, f.seen, f.after = nil, false, true, max(f.after, f.at)
	if f.scan.done {
		f.scan = nil
	}
	return page, nil
}

// upTo returns the part of a page that is not beyond a version.
func upTo(p ChangePage, version uint64) ChangePage {
	if p.Next <= version {
		return p
	}
	n := len(p.Changes)
	for n > 0 && p.Changes[n-1].Version > version {
		n--
	}
	return ChangePage{Changes: p.Changes[:n], Next: version}
}
