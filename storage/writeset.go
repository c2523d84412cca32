package storage

import (
	"bytes"
	"slices"
	"time"
)

// WriteSet holds the checks and ops of an Apply. Its checks see the state before, then its
// ops run in order, and all of them get one version, or nothing is applied.
type WriteSet struct {
	// ID, if not zero, makes a repeat harmless on a backend with [CapIdempotent]: the
	// repeat returns what the first one did. The outermost layer that may repeat creates
	// it. The same ID with different content is InvalidArgument; any ID is Unsupported
	// without the capability.
	ID     [16]byte
	Checks []Check
	Ops    []Op
}

// CheckKind selects the kind of a [Check]. Its numbers are wire-stable.
type CheckKind uint8

// The kinds of checks.
const (
	CheckAbsent  CheckKind = 1 // Key has no live item
	CheckPresent CheckKind = 2 // Key has a live item
	CheckValue   CheckKind = 3 // Key has a live item whose value is Value
	CheckVersion CheckKind = 4 // Key has a live item whose version is Version, not 0
	CheckRange   CheckKind = 5 // no live item in [Key, End) is newer than Version
)

// Check restricts the state before a write set.
//
// A range check, combined with a version check for each key that was read in the range,
// proves that the range is unchanged: no key was inserted, replaced or deleted.
type Check struct {
	Kind    CheckKind
	Key     []byte
	End     []byte // of a range check; nil means unbounded
	Value   []byte
	Version uint64
}

// Absent returns a check that key has no live item.
func Absent(key []byte) Check { return Check{Kind: CheckAbsent, Key: key} }

// Present returns a check that key has a live item.
func Present(key []byte) Check { return Check{Kind: CheckPresent, Key: key} }

// HasValue returns a check that key has a live item with this value; nil is the empty
// value.
func HasValue(key, value []byte) Check { return Check{Kind: CheckValue, Key: key, Value: value} }

// HasVersion returns a check that key has a live item with this version, which is not
// 0.
func HasVersion(key []byte, version uint64) Check {
	return Check{Kind: CheckVersion, Key: key, Version: version}
}

// NoneNewer returns a check that no live item in [start, end) is newer than version. If
// end is nil, the range is unbounded.
func NoneNewer(start, end []byte, version uint64) Check {
	return Check{Kind: CheckRange, Key: start, End: end, Version: version}
}

// OpKind selects the kind of an [Op]. Its numbers are wire-stable.
type OpKind uint8

// The kinds of ops.
const (
	OpPut         OpKind = 1 // store Value at Key, with ExpiresAt
	OpDelete      OpKind = 2 // remove Key
	OpDeleteRange OpKind = 3 // remove every key in [Key, End)
)

// Op describes one write.
type Op struct {
	Kind OpKind
	Key  []byte
	End  []byte // of a range delete; nil means unbounded
	// Value holds the value of a put; nil is the empty value.
	Value []byte
	// ExpiresAt is the expiry of a put. The zero time means never. If it is in the past,
	// the put removes the key.
	ExpiresAt time.Time
}

// Put returns an op that stores value at key without an expiry.
func Put(key, value []byte) Op { return Op{Kind: OpPut, Key: key, Value: value} }

// PutUntil returns an op that stores value at key until at; zero means no expiry.
func PutUntil(key, value []byte, at time.Time) Op {
	return Op{Kind: OpPut, Key: key, Value: value, ExpiresAt: at}
}

// Delete returns an op that removes key.
func Delete(key []byte) Op { return Op{Kind: OpDelete, Key: key} }

// DeleteRange returns an op that removes every key in [start, end); nil end: unbounded.
func DeleteRange(start, end []byte) Op { return Op{Kind: OpDeleteRange, Key: start, End: end} }

// EmptyRange reports whether [start, end) contains no key.
func EmptyRange(start, end []byte) bool { return end != nil && bytes.Compare(start, end) >= 0 }

// InRange reports whether key is in [start, end).
func InRange(key, start, end []byte) bool {
	return bytes.Compare(key, start) >= 0 && (end == nil || bytes.Compare(key, end) < 0)
}

// Expired reports whether an item with this expiry is gone at now. An item is gone at its
// expiry; one with a zero expiry never is.
func Expired(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// Validate returns an error unless w is valid and within info: sizes, known kinds, no
// version check on 0, and the required capabilities. Size errors come before
// everything that needs the state. A backend calls it (or [Normalize]) first in
// Apply.
func (w *WriteSet) Validate(info *Info) error {
	if err := w.CheckSizes(info.Limits); err != nil {
		return err
	}
	for i := range w.Ops {
		o := &w.Ops[i]
		if o.Kind < OpPut || o.Kind > OpDeleteRange {
			return Errorf(InvalidArgument, "op %d has the unknown kind %d", i, o.Kind)
		}
		if o.Kind != OpDeleteRange && o.End != nil || o.Kind != OpPut && (len(o.Value) > 0 || !o.ExpiresAt.IsZero()) {
			return Errorf(InvalidArgument, "op %d carries what its kind does not use", i)
		}
	}
	for i := range w.Checks {
		c := &w.Checks[i]
		if c.Kind < CheckAbsent || c.Kind > CheckRange {
			return Errorf(InvalidArgument, "check %d has the unknown kind %d", i, c.Kind)
		}
		if c.Kind == CheckVersion && c.Version == 0 {
			return Errorf(InvalidArgument, "check %d is on version 0, which no item has", i)
		}
	}
	return w.supported(info.Caps)
}

// CheckSizes returns an error unless w is within l: the number of its ops and checks,
// each key and value that it would store, then all of it. Bounds of ranges may have any
// length, and count only as far as [CutBound] keeps them; a value that is only compared
// counts in full.
func (w *WriteSet) CheckSizes(l Limits) error {
	if err := checkLimit("ops", l.Ops, len(w.Ops)+len(w.Checks)); err != nil {
		return err
	}
	total := 0
	for i := range w.Ops {
		o := &w.Ops[i]
		if l.Key > 0 && len(o.Key) > l.Key && o.Kind != OpDeleteRange {
			return l.CheckKey(o.Key)
		}
		if l.Value > 0 && len(o.Value) > l.Value {
			return l.CheckValue(o.Value)
		}
		total += len(CutBound(o.Key, l.Key)) + len(CutBound(o.End, l.Key)) + len(o.Value)
	}
	for i := range w.Checks {
		c := &w.Checks[i]
		if l.Key > 0 && len(c.Key) > l.Key && c.Kind != CheckRange {
			return l.CheckKey(c.Key)
		}
		total += len(CutBound(c.Key, l.Key)) + len(CutBound(c.End, l.Key)) + len(c.Value)
	}
	return checkLimit("write set bytes", l.WriteBytes, total)
}

// supported reports whether caps are enough for w. The common case, one op and at
// most a check on its key, is decided without a look at any key.
func (w *WriteSet) supported(caps Caps) error {
	if w.ID != [16]byte{} && !caps.Has(CapIdempotent) {
		return Errorf(Unsupported, "the backend does not remember the IDs of write sets")
	}
	if !caps.Has(CapAtomic) && len(w.Ops) > 1 {
		return Errorf(Unsupported, "the backend cannot write several keys at once")
	}
	if !caps.Has(CapTTL) {
		for i := range w.Ops {
			if !w.Ops[i].ExpiresAt.IsZero() {
				return Errorf(Unsupported, "the backend does not expire items (op %d)", i)
			}
		}
	}
	written := written{ops: w.Ops}
	for i := range w.Checks {
		c := &w.Checks[i]
		switch {
		case c.Kind == CheckRange:
			if !caps.Has(CapRangeCheck | CapVersions) {
				return Errorf(Unsupported, "the backend has no range checks (check %d)", i)
			}
		case c.Kind == CheckVersion && !caps.Has(CapVersions):
			return Errorf(Unsupported, "the backend has no versions (check %d)", i)
		case !caps.Has(CapCheckOnly) && !written.has(c.Key):
			return Errorf(Unsupported, "the backend cannot check a key that is not written (check %d)", i)
		}
	}
	return nil
}

// written finds the keys of ops, which it indexes once it is asked for more than a few.
type written struct {
	ops   []Op
	asked int
	keys  map[string]struct{}
}

// askedEach limits how many keys are looked for one by one.
const askedEach = 4

func (w *written) has(key []byte) bool {
	if w.asked++; w.asked <= askedEach {
		return slices.ContainsFunc(w.ops, func(o Op) bool { return o.Kind != OpDeleteRange && bytes.Equal(o.Key, key) })
	}
	if w.keys == nil {
		w.keys = make(map[string]struct{}, len(w.ops))
		for i := range w.ops {
			if o := &w.ops[i]; o.Kind != OpDeleteRange {
				w.keys[string(o.Key)] = struct{}{}
			}
		}
	}
	_, ok := w.keys[string(key)]
	return ok
}
