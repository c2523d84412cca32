package storage

import (
	"context"
	"time"
)

// Backend is the interface between all layers: plugins implement it, wrappers decorate it
// and carriers transport it. All methods are safe for concurrent use.
type Backend interface {
	// Get returns the live item at key, or [ErrNotFound] if it is absent or expired.
	// Item.Key may be nil, because the caller has it.
	Get(ctx context.Context, key []byte) (Item, error)

	// GetMany returns the live items among keys, in the order of keys and with repeats;
	// absent keys are omitted, so Item.Key is always set. With [CapSnapshotGet] all of
	// them are read from one state. More keys than Limits.GetKeys are a SizeLimit error.
	// Keys or an answer that do not fit the carrier are a RangeLimit error: request fewer
	// keys.
	GetMany(ctx context.Context, keys [][]byte) ([]Item, error)

	// Scan returns one page of a range, which is one state of the store.
	Scan(ctx context.Context, q Query) (Page, error)

	// Apply applies all of w or nothing, and returns the new version, or the current
	// version if it changed nothing. If a check fails, it returns [ErrConflict] with the
	// index of the first failing check in Error.Check.
	Apply(ctx context.Context, w *WriteSet) (version uint64, err error)

	// Changes returns a page of what changed after a version, and waits for something to
	// change if q says so; needs [CapChanges]. A version that is no longer kept, or that the
	// store has not come to, is [ErrVersionGone]: the caller scans, and goes on from the
	// version of that page. A wait that ends without a change is an empty page, no error.
	// The backend keeps nothing of a follower between two pages.
	//
	// A backend with [CapChangeNotice] instead reports that others have written to it, but not
	// what. With FromNow it returns its version. After that version it returns an empty page,
	// at the end of the wait, if no other writer has written since, and otherwise
	// ErrVersionGone at once. Writes through this backend may count as those of others. Such
	// versions have no other use, and the range of the query does not matter.
	Changes(ctx context.Context, q ChangeQuery) (ChangePage, error)

	// Health returns the result of p. An error means that the check itself failed.
	Health(ctx context.Context, p Probe) (Health, error)

	// Info returns what is true at this layer. It is cheap and never fails.
	Info() Info

	// Close flushes and releases what the backend holds. It is idempotent, and does not
	// close what was passed to the backend.
	Close(ctx context.Context) error
}

// Item holds a key's live value.
type Item struct {
	Key   []byte
	Value []byte // nil only in scans with KeysOnly
	// Version is the version of the write that put it; 0 without [CapVersions].
	Version uint64
	// ExpiresAt is the expiry. The zero time means never.
	ExpiresAt time.Time
}

// Query selects one page of the half-open range [Start, End).
type Query struct {
	Start []byte // first key; if nil or empty, from the store's first
	End   []byte // first key after the range; nil means unbounded, empty means no key
	// Limit limits the number of items. If zero, the backend decides. A page may hold fewer.
	Limit int
	// MaxBytes limits the bytes of keys and values. If zero, the backend decides. The first
	// item is returned however large it is.
	MaxBytes int
	Reverse  bool // from the end; requires [CapReverse]
	KeysOnly bool // omit values
	// AtVersion, if not 0, reads the state of that version, as long as the backend keeps
	// it. It requires [CapSnapshotScan].
	AtVersion uint64
}

// Validate returns an error if a limit is negative. A backend calls it first in Scan, and
// a carrier before it sends q.
func (q *Query) Validate() error {
	if q.Limit < 0 || q.MaxBytes < 0 {
		return Errorf(InvalidArgument, "a page limit is negative")
	}
	return nil
}

// Page holds one view of a part of a range.
type Page struct {
	Items []Item // in byte order, or its reverse
	// Next is the bound to continue from: the Start of the next page, or its End in a
	// reverse scan. Nil means done. A page may be empty and have a Next, but readers give
	// up after some thousand empty pages in a row.
	Next []byte
	// Version is the store's version at the view; 0 without [CapVersions].
	Version uint64
}

// Probe selects the kind of a health check.
type Probe uint8

// The probes, with the meaning that Kubernetes gives them. Liveness never
// touches anything that can hang.
const (
	Liveness Probe = iota + 1
	Readiness
	Startup
)

// String returns the probe's name in lower case.
func (p Probe) String() string {
	switch p {
	case Liveness:
		return "liveness"
	case Readiness:
		return "readiness"
	case Startup:
		return "startup"
	}
	return "unknown"
}

// Status grades the outcome of a health check.
type Status uint8

// The statuses. Degraded still serves: it passes a probe.
const (
	Healthy Status = iota + 1
	Degraded
	Unhealthy
)

// String returns the status in lower case.
func (s Status) String() string {
	switch s {
	case Healthy:
		return "healthy"
	case Degraded:
		return "degraded"
	case Unhealthy:
		return "unhealthy"
	}
	return "unknown"
}

// Health holds the result of a [Probe].
type Health struct {
	Status Status
	// Reason says why it is not [Healthy]. It is empty otherwise.
	Reason string
	// Details holds facts for people, such as "entries".
	Details map[string]string
}

// FirstVersion returns the first version of a backend that forgets its versions: now in
// milliseconds << 20, so that no version of an earlier life ever matches.
func FirstVersion(now time.Time) uint64 { return uint64(max(now.UnixMilli(), 1)) << 20 }

// PrefixEnd returns the End of the range of all keys that begin with prefix. It is nil,
// unbounded, for an empty prefix and for one of 0xFF bytes only.
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xFF {
			end := make([]byte, i+1)
			copy(end, prefix)
			end[i]++
			return end
		}
	}
	return nil
}

// After returns the smallest key greater than key: key followed by a 0x00 byte. It turns
// an excluded start or an included end into a half-open bound.
func After(key []byte) []byte {
	next := make([]byte, len(key)+1)
	copy(next, key)
	return next
}
