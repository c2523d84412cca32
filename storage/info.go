package storage

import (
	"math/bits"
	"strings"
	"time"
)

// Info describes a layer: a backend, or a wrapper together with everything below it.
type Info struct {
	Name    string // of the backend, such as "memory"; wrappers keep it
	Version string // of the backend's code
	// Incarnation changes whenever state was lost. Caches flush on it.
	Incarnation [16]byte
	Caps        Caps
	Limits      Limits
}

// Caps holds the abilities of a layer, as bits. Their values are wire-stable.
type Caps uint64

// The capabilities.
const (
	CapVersions     Caps = 1 << iota // items and pages carry versions; version checks work
	CapTTL                           // ExpiresAt is honoured
	CapExpiryOnRead                  // reads answer ExpiresAt
	CapAtomic                        // one Apply may touch several keys
	CapCheckOnly                     // a check may name a key that is not written
	CapRangeCheck                    // range checks work
	CapOrdered                       // a scan costs its range, not the store
	CapReverse                       // scans may run backwards
	CapSnapshotScan                  // AtVersion works, for a bounded time
	CapSnapshotGet                   // GetMany is one view
	CapDurable                       // an acknowledged write survives a crash
	CapIdempotent                    // a repeat of a write set with an ID is harmless
	CapStateless                     // the plugin keeps nothing between calls; it may have several instances
	CapChanges                       // Changes works
	CapChangeNotice                  // Changes reports that others have written, but not what; see there

	capsEnd
)

var capNames = [...]string{"versions", "ttl", "expiry_on_read", "atomic", "check_only", "range_check", "ordered",
	"reverse", "snapshot_scan", "snapshot_get", "durable", "idempotent", "stateless", "changes", "change_notice"}

// Has reports whether c has all of want.
func (c Caps) Has(want Caps) bool { return c&want == want }

// Names returns the names of the capabilities in bit order. Unknown bits, from a newer
// plugin, have none.
func (c Caps) Names() []string {
	var names []string
	for c &= capsEnd - 1; c != 0; c &= c - 1 {
		names = append(names, capNames[bits.TrailingZeros64(uint64(c))])
	}
	return names
}

// String returns the names, separated by commas.
func (c Caps) String() string { return strings.Join(c.Names(), ",") }

// ParseCap returns the capability called name.
func ParseCap(name string) (Caps, bool) {
	for i, n := range capNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// CapNames returns the names of all capabilities, in bit order.
func CapNames() []string { return append([]string(nil), capNames[:]...) }

// Limits holds the limits of a layer. Zero means no limit.
type Limits struct {
	Key        int // bytes of a key
	Value      int // bytes of a value
	Ops        int // ops and checks, together, of a write set
	WriteBytes int // bytes of all keys and values of a write set
	GetKeys    int // keys of a GetMany
	// TTLPrecision gives the step to which expiries are rounded. If zero, a millisecond.
	TTLPrecision time.Duration
	// IDWindow says how long the ID of a write set is remembered, IDCount how many of the
	// latest are; a repeat is recognised while both hold. Zero means that it sets no limit.
	IDWindow time.Duration
	IDCount  int
	// Changes limits how many of the latest changes a backend keeps, ChangesAge how long it
	// keeps each: a follower further behind gets VersionGone. Zero means that it sets no limit.
	Changes    int
	ChangesAge time.Duration
}

// TooLong reports whether key exceeds the limit, so that no item can have it.
func (l *Limits) TooLong(key []byte) bool { return l.Key > 0 && len(key) > l.Key }

// CheckKey returns an error if key exceeds the limit.
func (l Limits) CheckKey(key []byte) error { return checkLimit("key", l.Key, len(key)) }

// CheckValue returns an error if value exceeds the limit.
func (l Limits) CheckValue(value []byte) error { return checkLimit("value", l.Value, len(value)) }

// CheckGetKeys returns an error if a GetMany of n keys exceeds the limit.
func (l Limits) CheckGetKeys(n int) error { return checkLimit("keys", l.GetKeys, n) }

// Tighten returns the stricter of the two in every limit.
func (l Limits) Tighten(o Limits) Limits {
	for _, p := range []struct{ have, want *int }{{&l.Key, &o.Key}, {&l.Value, &o.Value}, {&l.Ops, &o.Ops},
		{&l.WriteBytes, &o.WriteBytes}, {&l.GetKeys, &o.GetKeys}, {&l.IDCount, &o.IDCount}, {&l.Changes, &o.Changes}} {
		if *p.want > 0 && (*p.have == 0 || *p.want < *p.have) {
			*p.have = *p.want
		}
	}
	l.TTLPrecision = max(l.TTLPrecision, o.TTLPrecision)
	for _, p := range []struct{ have, want *time.Duration }{{&l.IDWindow, &o.IDWindow}, {&l.ChangesAge, &o.ChangesAge}} {
		if *p.want > 0 && (*p.have == 0 || *p.want < *p.have) {
			*p.have = *p.want
		}
	}
	return l
}

func checkLimit(kind string, limit, actual int) error {
	if limit > 0 && actual > limit {
		return LimitError(SizeLimit, kind, int64(limit), int64(actual))
	}
	return nil
}
