package storage

import "bytes"

// Expected is what a conditional write demands of the key that it writes.
type Expected struct {
	kind    CheckKind
	value   []byte
	version uint64
}

// ExpectAbsent demands that the key is absent or expired.
func ExpectAbsent() Expected { return Expected{kind: CheckAbsent} }

// ExpectPresent demands that the key is live, whatever its value.
func ExpectPresent() Expected { return Expected{kind: CheckPresent} }

// ExpectValue demands that the key is live and holds exactly value; nil is the
// empty value. An absent key never matches.
func ExpectValue(value []byte) Expected { return Expected{kind: CheckValue, value: value} }

// ExpectVersion demands that the key is live at exactly this version. Unlike a
// value, a version never returns.
func ExpectVersion(version uint64) Expected { return Expected{kind: CheckVersion, version: version} }

// check is the zero Expected's too: its kind 0 is refused by Validate.
func (e Expected) check(key []byte) Check {
	return Check{Kind: e.kind, Key: key, Value: e.value, Version: e.version}
}

// holds judges against a value that a transaction wrote itself, which has no
// version yet.
func (e Expected) holds(value []byte, present bool) bool {
	switch e.kind {
	case CheckAbsent:
		return !present
	case CheckPresent:
		return present
	case CheckValue:
		return present && bytes.Equal(value, e.value)
	}
	return false
}

// sameItem is the check that key still holds the item that was read: by
// version, or by value on a backend without versions.
func sameItem(key []byte, it Item) Check {
	if it.Version != 0 {
		return Check{Kind: CheckVersion, Key: key, Version: it.Version}
	}
	return Check{Kind: CheckValue, Key: key, Value: it.Value}
}
