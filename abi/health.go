package abi

import (
	"maps"
	"slices"

	"github.com/plinthkv/plinth/storage"
)

// Health: 1 Status status, 2 string reason, 3 map<string, string> details, of
// which each entry is a message: 1 string key, 2 string value, both always sent.
const (
	healthStatus  = 1<<3 | wireVarint
	healthReason  = 2<<3 | wireBytes
	healthDetail  = 3<<3 | wireBytes
	healthFields  = 1<<1 | 1<<2 | 1<<3
	detailKey     = 1<<3 | wireBytes
	detailValue   = 2<<3 | wireBytes
	detailFields  = 1<<1 | 1<<2
	detailMessage = "health detail"
)

// AppendHealth appends the answer of a health check, with its details in the
// order of their keys.
func AppendHealth(dst []byte, h *storage.Health) []byte {
	dst = appendUint(dst, healthStatus, uint64(h.Status))
	dst = appendText(dst, healthReason, mend(h.Reason))
	if len(h.Details) == 0 {
		return dst
	}
	for _, k := range slices.Sorted(maps.Keys(h.Details)) {
		key, value := mend(k), mend(h.Details[k])
		dst = appendLen(dst, healthDetail, sizeBytes(len(key))+sizeBytes(len(value)))
		dst = append(appendLen(dst, detailKey, len(key)), key...)
		dst = append(appendLen(dst, detailValue, len(value)), value...)
	}
	return dst
}

// DecodeHealth reads the answer of a health check. A status that this version
// does not know is Unhealthy. More than [MaxDetails] details are a SizeLimit
// error.
func DecodeHealth(b []byte, h *storage.Health) error {
	*h = storage.Health{Status: storage.Unhealthy}
	details, err := count(b, "health", healthDetail)
	if err != nil {
		return err
	}
	if details > MaxDetails {
		return tooMany("health", "details", MaxDetails, details)
	}
	if details > 0 {
		h.Details = make(map[string]string, details)
	}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("health", at, next)
			}
		}
		switch tag {
		case healthStatus:
			var v uint64
			if v, i = uvarint(b, next); uint32(v) > uint32(storage.Unhealthy) || uint32(v) == 0 {
				v = uint64(storage.Unhealthy)
			}
			h.Status = storage.Status(v)
		case healthReason:
			h.Reason, i = text(b, next)
		case healthDetail:
			var v []byte
			if v, i = field(b, next); i >= 0 {
				if err := decodeDetail(v, h.Details); err != nil {
					return inside("health", at, err)
				}
			}
		default:
			i = skip(b, next, tag, healthFields)
		}
		if i < 0 {
			return malformed("health", at, i)
		}
	}
	return nil
}

func decodeDetail(b []byte, details map[string]string) error {
	var key, value string
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed(detailMessage, at, next)
			}
		}
		switch tag {
		case detailKey:
			key, i = text(b, next)
		case detailValue:
			value, i = text(b, next)
		default:
			i = skip(b, next, tag, detailFields)
		}
		if i < 0 {
			return malformed(detailMessage, at, i)
		}
	}
	details[key] = value
	return nil
}
