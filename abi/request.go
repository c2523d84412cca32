package abi

import (
	"github.com/plinthkv/plinth/storage"
)

// GetRequest: 1 bytes key. GetManyRequest: 1 repeated bytes keys.
const (
	getKey    = 1<<3 | wireBytes
	getFields = 1 << 1
)

// ScanRequest: 1 bytes start, 2 optional bytes end, 3 uint64 limit,
// 4 uint64 max_bytes, 5 bool reverse, 6 bool keys_only, 7 uint64 at_version.
const (
	scanStart    = 1<<3 | wireBytes
	scanEnd      = 2<<3 | wireBytes
	scanLimit    = 3<<3 | wireVarint
	scanMaxBytes = 4<<3 | wireVarint
	scanReverse  = 5<<3 | wireVarint
	scanKeysOnly = 6<<3 | wireVarint
	scanVersion  = 7<<3 | wireVarint
	scanFields   = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7
)

// ApplyResponse: 1 uint64 version. HealthRequest: 1 Probe probe.
const (
	onlyUint   = 1<<3 | wireVarint
	onlyFields = 1 << 1
)

// AppendGet appends the request for one key.
func AppendGet(dst, key []byte) []byte { return appendPlain(dst, getKey, key) }

// DecodeGet reads the request for one key; the key is a view.
func DecodeGet(b []byte) (key []byte, err error) {
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return nil, malformed("get", at, next)
			}
		}
		if tag == getKey {
			key, i = plain(b, next)
		} else {
			i = skip(b, next, tag, getFields)
		}
		if i < 0 {
			return nil, malformed("get", at, i)
		}
	}
	return key, nil
}

// AppendGetMany appends the request for several keys.
func AppendGetMany(dst []byte, keys [][]byte) []byte {
	for _, k := range keys {
		dst = append(appendLen(dst, getKey, len(k)), k...)
	}
	return dst
}

// DecodeGetMany reads the request for several keys, over the capacity of dst.
// The keys are views and never nil.
func DecodeGetMany(b []byte, dst [][]byte) ([][]byte, error) {
	dst = dst[:0]
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return nil, malformed("get_many", at, next)
			}
		}
		if tag == getKey {
			if len(dst) == cap(dst) {
				n, err := count(b, "get_many", getKey)
				if err != nil {
					return nil, err
				}
				dst = room(dst, n)
			}
			var key []byte
			key, i = field(b, next)
			dst = append(dst, key)
		} else {
			i = skip(b, next, tag, getFields)
		}
		if i < 0 {
			return nil, malformed("get_many", at, i)
		}
	}
	return dst, bounded("get_many", len(dst))
}

// AppendQuery appends the request of a scan. A nil End is omitted; negative limits are
// sent as 0.
func AppendQuery(dst []byte, q *storage.Query) []byte {
	dst = appendPlain(dst, scanStart, q.Start)
	dst = appendOptional(dst, scanEnd, q.End)
	dst = appendUint(dst, scanLimit, fromInt(q.Limit))
	dst = appendUint(dst, scanMaxBytes, fromInt(q.MaxBytes))
	dst = appendBool(dst, scanReverse, q.Reverse)
	dst = appendBool(dst, scanKeysOnly, q.KeysOnly)
	return appendUint(dst, scanVersion, q.AtVersion)
}

// DecodeQuery reads the request of a scan. Start and End are views; limits above the
// largest int are cut to that.
func DecodeQuery(b []byte, q *storage.Query) error {
	*q = storage.Query{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("scan", at, next)
			}
		}
		var v uint64
		switch tag {
		case scanStart:
			q.Start, i = plain(b, next)
		case scanEnd:
			q.End, i = field(b, next)
		case scanLimit:
			v, i = uvarint(b, next)
			q.Limit = toInt(v)
		case scanMaxBytes:
			v, i = uvarint(b, next)
			q.MaxBytes = toInt(v)
		case scanReverse:
			v, i = uvarint(b, next)
			q.Reverse = v != 0
		case scanKeysOnly:
			v, i = uvarint(b, next)
			q.KeysOnly = v != 0
		case scanVersion:
			q.AtVersion, i = uvarint(b, next)
		default:
			i = skip(b, next, tag, scanFields)
		}
		if i < 0 {
			return malformed("scan", at, i)
		}
	}
	return nil
}

// AppendVersion appends the answer of an Apply.
func AppendVersion(dst []byte, version uint64) []byte { return appendUint(dst, onlyUint, version) }

// DecodeVersion reads the answer of an Apply.
func DecodeVersion(b []byte) (uint64, error) {
	var version uint64
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return 0, malformed("apply answer", at, next)
			}
		}
		if tag == onlyUint {
			version, i = uvarint(b, next)
		} else {
			i = skip(b, next, tag, onlyFields)
		}
		if i < 0 {
			return 0, malformed("apply answer", at, i)
		}
	}
	return version, nil
}

// AppendProbe appends the request of a health check.
func AppendProbe(dst []byte, p storage.Probe) []byte { return appendUint(dst, onlyUint, uint64(p)) }

// DecodeProbe reads the request of a health check. It accepts unknown probes.
func DecodeProbe(b []byte) (storage.Probe, error) {
	var p uint8
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return 0, malformed("health", at, next)
			}
		}
		if tag == onlyUint {
			p, i = kind(b, next)
		} else {
			i = skip(b, next, tag, onlyFields)
		}
		if i < 0 {
			return 0, malformed("health", at, i)
		}
	}
	return storage.Probe(p), nil
}
