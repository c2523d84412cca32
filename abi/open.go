package abi

import (
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Open: 1 string name, 2 bytes config, 3 uint32 minor, 4 uint64 features,
// 5 uint32 max_frame, 6 uint64 memory, 7 int64 now, 8 bytes incarnation.
const (
	openName        = 1<<3 | wireBytes
	openConfig      = 2<<3 | wireBytes
	openMinor       = 3<<3 | wireVarint
	openFeatures    = 4<<3 | wireVarint
	openMaxFrame    = 5<<3 | wireVarint
	openMemory      = 6<<3 | wireVarint
	openNow         = 7<<3 | wireVarint
	openIncarnation = 8<<3 | wireBytes
	openFields      = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8
)

// Info: 1 string name, 2 string version, 3 bytes incarnation, 4 uint64 caps,
// 5 Limits limits.
const (
	infoName        = 1<<3 | wireBytes
	infoVersion     = 2<<3 | wireBytes
	infoIncarnation = 3<<3 | wireBytes
	infoCaps        = 4<<3 | wireVarint
	infoLimits      = 5<<3 | wireBytes
	infoFields      = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5
)

// Limits: all uint64: 1 key, 2 value, 3 ops, 4 write_bytes, 5 get_keys,
// 6 ttl_precision_ms, 7 id_window_ms, 8 id_count, 9 changes, 10 changes_age_ms.
const (
	limitKey        = 1<<3 | wireVarint
	limitValue      = 2<<3 | wireVarint
	limitOps        = 3<<3 | wireVarint
	limitWriteBytes = 4<<3 | wireVarint
	limitGetKeys    = 5<<3 | wireVarint
	limitPrecision  = 6<<3 | wireVarint
	limitIDWindow   = 7<<3 | wireVarint
	limitIDCount    = 8<<3 | wireVarint
	limitChanges    = 9<<3 | wireVarint
	limitChangesAge = 10<<3 | wireVarint
	limitFields     = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<9 | 1<<10
)

// Open carries the first message to a plugin. The plugin returns its Info.
type Open struct {
	Name   string // what the operator calls the plugin
	Config []byte // JSON; empty if none
	Minor  uint32 // the host's [Minor]
	// Features are bits of what the host offers beyond this version. None is
	// defined yet.
	Features uint64
	MaxFrame uint32 // maximum bytes of a frame; by default [DefaultMaxFrame]
	Memory   uint64 // bytes of linear memory that the guest may grow to; 0 if not limited, or not a guest
	Now      int64  // unix ms; 0 and below: not sent
	// Incarnation holds 16 random bytes, made for this start. A backend that lost its state,
	// or never keeps any, uses it as its own.
	Incarnation [16]byte
}

// AppendOpen appends the request of an open.
func AppendOpen(dst []byte, o *Open) []byte {
	dst = appendText(dst, openName, mend(o.Name))
	dst = appendPlain(dst, openConfig, o.Config)
	dst = appendUint(dst, openMinor, uint64(o.Minor))
	dst = appendUint(dst, openFeatures, o.Features)
	dst = appendUint(dst, openMaxFrame, uint64(o.MaxFrame))
	dst = appendUint(dst, openMemory, o.Memory)
	dst = appendUint(dst, openNow, uint64(max(o.Now, 0)))
	return appendID(dst, openIncarnation, &o.Incarnation)
}

// DecodeOpen reads the request of an open. Config is a view.
func DecodeOpen(b []byte, o *Open) error {
	*o = Open{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("open", at, next)
			}
		}
		var v uint64
		switch tag {
		case openName:
			o.Name, i = text(b, next)
		case openConfig:
			o.Config, i = plain(b, next)
		case openMinor:
			v, i = uvarint(b, next)
			o.Minor = uint32(v)
		case openFeatures:
			o.Features, i = uvarint(b, next)
		case openMaxFrame:
			v, i = uvarint(b, next)
			o.MaxFrame = uint32(v)
		case openMemory:
			o.Memory, i = uvarint(b, next)
		case openNow:
			v, i = uvarint(b, next)
			if o.Now = int64(v); o.Now < 0 && i >= 0 {
				i = negative
			}
		case openIncarnation:
			o.Incarnation, i = id(b, next)
		default:
			i = skip(b, next, tag, openFields)
		}
		if i < 0 {
			return malformed("open", at, i)
		}
	}
	return nil
}

// AppendInfo appends the answer of an open. Negative limits are sent as 0.
func AppendInfo(dst []byte, info *storage.Info) []byte {
	dst = appendText(dst, infoName, mend(info.Name))
	dst = appendText(dst, infoVersion, mend(info.Version))
	dst = appendID(dst, infoIncarnation, &info.Incarnation)
	dst = appendUint(dst, infoCaps, uint64(info.Caps))
	numbers := limitNumbers(&info.Limits)
	n := 0
	for _, v := range numbers {
		n += sizeUint(v)
	}
	if n == 0 {
		return dst
	}
	dst = appendLen(dst, infoLimits, n)
	for i, v := range numbers {
		dst = appendUint(dst, limitKey+byte(i)<<3, v)
	}
	return dst
}

// limitNumbers returns the limits in the order of their fields.
func limitNumbers(l *storage.Limits) [10]uint64 {
	return [10]uint64{
		fromInt(l.Key), fromInt(l.Value), fromInt(l.Ops), fromInt(l.WriteBytes), fromInt(l.GetKeys),
		fromDuration(l.TTLPrecision), window(l.IDWindow), fromInt(l.IDCount),
		fromInt(l.Changes), window(l.ChangesAge),
	}
}

// window returns d in ms, rounded down, because it is a promise, but not to 0, which would
// be an endless one.
func window(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	return uint64(max(d/time.Millisecond, 1))
}

// DecodeInfo reads the answer of an open. Limits above the largest int or duration are
// cut to that.
func DecodeInfo(b []byte, info *storage.Info) error {
	*info = storage.Info{}
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("info", at, next)
			}
		}
		switch tag {
		case infoName:
			info.Name, i = text(b, next)
		case infoVersion:
			info.Version, i = text(b, next)
		case infoIncarnation:
			info.Incarnation, i = id(b, next)
		case infoCaps:
			var v uint64
			v, i = uvarint(b, next)
			info.Caps = storage.Caps(v)
		case infoLimits:
			var v []byte
			if v, i = field(b, next); i >= 0 {
				if err := decodeLimits(v, &info.Limits); err != nil {
					return inside("info", at, err)
				}
			}
		default:
			i = skip(b, next, tag, infoFields)
		}
		if i < 0 {
			return malformed("info", at, i)
		}
	}
	return nil
}

// decodeLimits reads limits over those that are there: a message field that
// stands twice is merged.
func decodeLimits(b []byte, l *storage.Limits) error {
	for i := 0; i < len(b); {
		at := i
		tag, next := uint64(b[i]), i+1
		if tag >= 0x80 {
			if tag, next = uvarint(b, i); next < 0 {
				return malformed("limits", at, next)
			}
		}
		var v uint64
		if tag < limitKey || tag > limitChangesAge || tag&7 != wireVarint {
			i = skip(b, next, tag, limitFields)
		} else {
			v, i = uvarint(b, next)
		}
		if i < 0 {
			return malformed("limits", at, i)
		}
		switch tag {
		case limitKey:
			l.Key = toInt(v)
		case limitValue:
			l.Value = toInt(v)
		case limitOps:
			l.Ops = toInt(v)
		case limitWriteBytes:
			l.WriteBytes = toInt(v)
		case limitGetKeys:
			l.GetKeys = toInt(v)
		case limitPrecision:
			l.TTLPrecision = toDuration(v)
		case limitIDWindow:
			l.IDWindow = toDuration(v)
		case limitIDCount:
			l.IDCount = toInt(v)
		case limitChanges:
			l.Changes = toInt(v)
		case limitChangesAge:
			l.ChangesAge = toDuration(v)
		}
	}
	return nil
}
