package storage

import (
	"bytes"
	"time"
)

// PutOption changes what a Put stores, or adds a condition: WithTTL, Until, or a
// [Condition]. All conditions must hold; of several expiries the last one counts.
type PutOption interface{ putOption() }

// expiry says when a put's item ceases to exist.
type expiry struct {
	at       time.Time // zero means never
	ttl      time.Duration
	relative bool // ttl counts, not at
}

func (expiry) putOption() {}

// gather returns what opts say of a put of key. It looks at them by their types: calls of their
// methods would have each allocated.
func gather(key []byte, opts []PutOption) (e expiry, checks []Check) {
	for _, opt := range opts {
		switch opt := opt.(type) {
		case expiry:
			e = opt
		case Condition:
			checks = append(checks, opt.on(key))
		}
	}
	return e, checks
}

func (e expiry) validate() error {
	if e.relative && e.ttl < 0 {
		return Errorf(InvalidArgument, "the TTL is negative: %s", e.ttl)
	}
	return nil
}

// from returns the expiry of what is stored at now.
func (e expiry) from(now func() time.Time) (time.Time, error) {
	if !e.relative {
		return ClampExpiry(e.at), nil
	}
	return ExpiryAfter(now(), e.ttl)
}

// WithTTL makes the item expire after ttl, which a transaction counts from its
// commit. With a ttl of zero the put removes the key; a negative one is
// InvalidArgument.
func WithTTL(ttl time.Duration) PutOption { return expiry{ttl: ttl, relative: true} }

// Until makes the item expire at at, rounded up to a millisecond. The zero time means no
// expiry. If at has passed, the put removes the key.
func Until(at time.Time) PutOption { return expiry{at: at} }

// Condition restricts a write by the item at the written key. If it does not hold, nothing
// is written, and the error is [ErrConflict]. The zero Condition is InvalidArgument.
type Condition struct {
	kind    CheckKind
	value   []byte
	version uint64
}

func (Condition) putOption() {}

// IfAbsent requires that the key is absent or expired.
func IfAbsent() Condition { return Condition{kind: CheckAbsent} }

// IfPresent requires that the key has a live item, with any value.
func IfPresent() Condition { return Condition{kind: CheckPresent} }

// IfValue requires that the key has a live item with exactly value; nil is the empty
// value.
func IfValue(value []byte) Condition { return Condition{kind: CheckValue, value: value} }

// IfVersion requires that the key has a live item with exactly this version, as returned
// by a read or by the write of the item. Unlike a value, a version never returns.
func IfVersion(version uint64) Condition { return Condition{kind: CheckVersion, version: version} }

// ifUnchanged demands that the key still holds the item that was read: by version, or by
// value on a backend without versions.
func ifUnchanged(it Item) Condition {
	if it.Version != 0 {
		return IfVersion(it.Version)
	}
	return IfValue(it.Value)
}

// on returns the check of the condition on key.
func (c Condition) on(key []byte) Check {
	return Check{Kind: c.kind, Key: key, Value: c.value, Version: c.version}
}

// checks returns the checks for conditions on key; nil for none.
func checks(key []byte, conditions []Condition) []Check {
	if len(conditions) == 0 {
		return nil
	}
	all := make([]Check, len(conditions))
	for i, c := range conditions {
		all[i] = c.on(key)
	}
	return all
}

// holds judges by p, which a transaction wrote itself and which has no version yet.
func (c *Check) holds(p pending) bool {
	switch c.Kind {
	case CheckAbsent:
		return !p.present
	case CheckPresent:
		return p.present
	case CheckValue:
		return p.present && bytes.Equal(p.value, c.Value)
	}
	return false
}
