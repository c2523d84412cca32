package storage

import (
	"bytes"
	"slices"
	"time"
)

// MostWait limits how long a call of Changes waits: a longer [ChangeQuery].Wait is cut to
// it.
const MostWait = 5 * time.Minute

// ChangeQuery asks for the changes in the half-open range [Start, End) that came after a
// version: it is a scan along the axis of versions.
type ChangeQuery struct {
	Start []byte // first key; if nil or empty, from the store's first
	End   []byte // first key after the range; nil means unbounded, empty means no key
	// After is the version to go on from: that of a page of a scan, of a write, or the
	// Next of the page of changes before. 0 is before the first write of all.
	After uint64
	// FromNow asks for no changes, but where to begin: the answer comes at once, is
	// empty, and its Next is the store's current version. After is not looked at.
	FromNow bool
	// Limit limits the number of changes. If zero, the backend decides. A page holds whole
	// write sets, and one of them however large it is, so it may have more.
	Limit int
	// MaxBytes limits the bytes of keys and values. If zero, the backend decides. One write
	// set is given however large it is.
	MaxBytes int
	// Wait says how long to wait for a change in the range if there is none yet. If zero, the
	// call does not wait. More than [MostWait] counts as MostWait.
	Wait time.Duration
}

// Validate reports whether q makes sense: no limit of it and no wait is negative. A backend
// calls it first in Changes.
func (q *ChangeQuery) Validate() error {
	switch {
	case q.Limit < 0:
		return Errorf(InvalidArgument, "the limit of changes must not be negative (%d)", q.Limit)
	case q.MaxBytes < 0:
		return Errorf(InvalidArgument, "the byte limit of changes must not be negative (%d)", q.MaxBytes)
	case q.Wait < 0:
		return Errorf(InvalidArgument, "the wait for changes must not be negative (%s)", q.Wait)
	}
	return nil
}

// Cut returns q with its bounds cut as [Query.Cut] does it, and its wait cut to [MostWait].
// A carrier sends this in place of q.
func (q ChangeQuery) Cut(l Limits) ChangeQuery {
	q.Start, q.End = CutBound(q.Start, l.Key), CutBound(q.End, l.Key)
	q.Wait = min(q.Wait, MostWait)
	return q
}

// CheckAfter returns the [VersionGone] of a query whose After is older than oldest, the
// version before the first change that is kept, or newer than current, the store's version;
// otherwise nil.
func (q *ChangeQuery) CheckAfter(oldest, current uint64) error {
	switch {
	case q.FromNow:
		return nil
	case q.After < oldest:
		return Errorf(VersionGone, "changes after version %d are no longer kept: the oldest that can be followed is %d; scan again, and go on from the version of the page", q.After, oldest)
	case q.After > current:
		return Errorf(VersionGone, "version %d is not one of this store, which is at %d; scan again, and go on from the version of the page", q.After, current)
	}
	return nil
}

// Clip reports whether c is in the range of q, and cuts a delete range to what of it is.
// It borrows the bounds of q.
func (q *ChangeQuery) Clip(c *Change) bool {
	if c.Kind != ChangeDeleteRange {
		return InRange(c.Key, q.Start, q.End)
	}
	if bytes.Compare(c.Key, q.Start) < 0 {
		c.Key = q.Start
	}
	if q.End != nil && (c.End == nil || bytes.Compare(c.End, q.End) > 0) {
		c.End = q.End
	}
	return !EmptyRange(c.Key, c.End)
}

// Resume makes of the answer to the query that q was cut from ([ChangeQuery.Cut]) the answer
// to q: it clips delete ranges to the uncut bounds.
func (q *ChangeQuery) Resume(p *ChangePage) {
	for i := range p.Changes {
		c := &p.Changes[i]
		if c.Kind != ChangeDeleteRange {
			continue
		}
		if bytes.Compare(c.Key, q.Start) < 0 {
			c.Key = bytes.Clone(q.Start)
		}
		if q.End != nil && (c.End == nil || bytes.Compare(c.End, q.End) > 0) {
			c.End = append([]byte{}, q.End...)
		}
	}
}

// ChangePage holds the result of a [ChangeQuery].
type ChangePage struct {
	// Changes holds all changes of the range with After < Version <= Next: in the order of
	// versions, and within a version in the order of the write set's ops. A write set is never
	// torn.
	Changes []Change
	// Next is the After of the next query. It advances past what was not in the range.
	Next uint64
}

// ChangeKind names what a [Change] did. Its numbers are wire-stable.
type ChangeKind uint8

// The kinds of changes.
const (
	ChangePut         ChangeKind = 1 // Value was stored at Key, with ExpiresAt
	ChangeDelete      ChangeKind = 2 // Key was removed
	ChangeDeleteRange ChangeKind = 3 // every key in [Key, End) was removed
	ChangeExpired     ChangeKind = 4 // the item at Key came to its expiry
)

// String returns the kind in snake_case.
func (k ChangeKind) String() string {
	switch k {
	case ChangePut:
		return "put"
	case ChangeDelete:
		return "delete"
	case ChangeDeleteRange:
		return "delete_range"
	case ChangeExpired:
		return "expired"
	}
	return "unknown"
}

// Change describes one change of a store. Applied in order to a state of the store at a
// version, the changes after it give every later state.
//
// A delete of an absent key, a range without keys and an op that a later one of its write
// set overrides may be given or left out. A put that had expired when it was applied may be
// given as a delete. An expiry has a version of its own, which the backend gives it when it
// collects the item, soon after ExpiresAt: who has to know at once goes by the ExpiresAt of
// the put.
type Change struct {
	Key  []byte
	End  []byte // of a delete range; nil means unbounded
	Kind ChangeKind
	// Version is that of the write set, or the expiry's own.
	Version uint64
	// Value holds what a put stored; nil for the other kinds.
	Value []byte
	// ExpiresAt is the expiry of a put's item; zero if it has none, and for the other kinds.
	ExpiresAt time.Time
}

// Size returns the bytes of the change's keys and value.
func (c *Change) Size() int { return len(c.Key) + len(c.End) + len(c.Value) }

// OpChange returns the change that an op makes at a version. It shares the op's bytes. A put
// of nil has the empty value.
func OpChange(o *Op, version uint64) Change {
	c := Change{Key: o.Key, Version: version}
	switch o.Kind {
	case OpPut:
		c.Kind, c.Value, c.ExpiresAt = ChangePut, o.Value, o.ExpiresAt
		if c.Value == nil {
			c.Value = []byte{}
		}
	case OpDelete:
		c.Kind = ChangeDelete
	case OpDeleteRange:
		c.Kind, c.End = ChangeDeleteRange, o.End
	}
	return c
}

// Sizes of a page of changes whose query does not say its own.
const (
	pageChanges = 1000
	pageBytes   = 1 << 20
)

// ChangeCollector makes the page of a query from the write sets after its After, which a
// backend adds in the order of their versions. Its zero value is of no use: see
// [NewChangeCollector]. It is for one goroutine.
type ChangeCollector struct {
	q     ChangeQuery
	page  ChangePage
	bytes int
}

// NewChangeCollector returns the collector of the page of q, which begins at q.After. It
// borrows the bounds of q, also in the page.
func NewChangeCollector(q ChangeQuery) *ChangeCollector {
	if q.Limit == 0 {
		q.Limit = pageChanges
	}
	if q.MaxBytes == 0 {
		q.MaxBytes = pageBytes
	}
	return &ChangeCollector{q: q, page: ChangePage{Next: q.After}}
}

// Add adds the changes of one version, of which those in the range come onto the page. It
// returns false if the page is full: then none of them was added, and the page is complete.
// The page shares the bytes of the changes, which stay as they are.
func (c *ChangeCollector) Add(version uint64, changes ...Change) bool {
	before, bytes := len(c.page.Changes), c.bytes
	for i := range changes {
		one := changes[i]
		if !c.q.Clip(&one) {
			continue
		}
		c.page.Changes = append(c.page.Changes, one)
		if c.bytes += one.Size(); before > 0 && (len(c.page.Changes) > c.q.Limit || c.bytes > c.q.MaxBytes) {
			c.page.Changes, c.bytes = c.page.Changes[:before:before], bytes
			return false
		}
	}
	c.Reach(version)
	return true
}

// Grow makes room on the page for n further changes, but for no more than it may hold.
func (c *ChangeCollector) Grow(n int) {
	c.page.Changes = slices.Grow(c.page.Changes, max(0, min(n, c.q.Limit-len(c.page.Changes))))
}

// Reach says that there are no further changes up to version.
func (c *ChangeCollector) Reach(version uint64) { c.page.Next = max(c.page.Next, version) }

// Page returns the page so far.
func (c *ChangeCollector) Page() ChangePage { return c.page }
