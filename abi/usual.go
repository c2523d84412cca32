package abi

// Here is what modules do for almost every call. Each call of a function is dear there, and each
// return from one, so these functions make none, but to copy bytes. All else goes the way of the
// other files, to the same result.

import (
	"encoding/binary"

	"github.com/plinthkv/plinth/storage"
)

// Put is the usual write set with its frame: one put of an item that never expires,
// without checks, ID and trace.
type Put struct {
	ID         uint32 // of the frame
	Now        int64  // of the header, ms; 0: not sent
	Key, Value []byte // views
}

// Read reports whether b is one frame with the usual write set, and reads it into p. It does
// what ReadFrame, Header.Decode and DecodeWriteSet do, which read everything else.
func (p *Put) Read(b []byte) bool {
	if len(b) < frameHead || uint64(binary.LittleEndian.Uint32(b))+lengthWord != uint64(len(b)) ||
		b[kindAt] != uint8(OpApply) || b[flagsAt] != 0 {
		return false
	}
	i, now := frameHead, int64(0)
	message := frameHead + int(binary.LittleEndian.Uint16(b[headerAt:]))
	for i < message {
		if i+2 > len(b) {
			return false
		}
		tag, n := b[i], int(b[i+1])
		i += 2 + n
		if i > message || i > len(b) {
			return false
		}
		switch {
		case tag == TagNow && n == 8:
			now = int64(binary.LittleEndian.Uint64(b[i-8 : i]))
			if now < 0 {
				return false
			}
		case tag == TagDeadline && n == 8 && b[i-1] < 0x80, tag == TagBudget && n == 4:
		default:
			return false
		}
	}
	const least = 3 // bytes that length reads
	if i+1+least > len(b) || b[i] != setOp {
		return false
	}
	n, i := length(b, i+1)
	if n != len(b)-i || i+3+least > len(b) || b[i] != partKind || b[i+1] != uint8(storage.OpPut) || b[i+2] != partKey {
		return false
	}
	n, i = length(b, i+3)
	key, end := i, i+n
	if n == 0 || end+1+least > len(b) || b[end] != partValue {
		return false
	}
	n, i = length(b, end+1)
	if n == 0 || n != len(b)-i {
		return false
	}
	p.ID, p.Now, p.Key, p.Value = binary.LittleEndian.Uint32(b[lengthWord:]), now, b[key:end:end], b[i:len(b):len(b)]
	return true
}

// length reads a varint at i, where there are three bytes. A longer one is a number above all
// lengths here.
func length(b []byte, i int) (n, next int) {
	if n = int(b[i]); n < 0x80 {
		return n, i + 1
	}
	if n = n&0x7F | int(b[i+1])<<7; n < 1<<14 {
		return n, i + 2
	}
	if n = n&(1<<14-1) | int(b[i+2])<<14; n < 1<<21 {
		return n, i + 3
	}
	return 1 << 30, i + 3
}

// AppendValue appends the answer to a Get of an item that never expires.
func AppendValue(dst, value []byte, version uint64) []byte {
	const most = 2 * 11 // tags and varints
	start, n := len(dst), len(value)
	if n >= 1<<14 || !usualVersion(version) || cap(dst)-start < n+most {
		return appendUint(append(appendLen(dst, itemValue, n), value...), itemVersion, version)
	}
	b := dst[start:cap(dst)]
	b[0] = itemValue
	i := putShort(b, 1, n)
	i += copy(b[i:], value)
	putVersion(b[i:], itemVersion, version)
	return dst[:start+i+versionSize]
}

// AppendListed appends an item that never expires to a page or to the answer of a GetMany; both
// are its key and its value. For lack of room in dst, and for what is unusual, it returns nil:
// then [AppendItemHead] is for it.
func AppendListed(dst []byte, s *ItemShape, both []byte) []byte {
	const most = 4 * 3 // tags and lengths
	if start, n := len(dst), len(both); s.Expires == 0 && n == s.Key+s.Value && n < 1<<14-most-versionSize &&
		usualVersion(s.Version) && cap(dst)-start >= n+most+versionSize {
		b := dst[start:cap(dst)]
		size := n + 4 + versionSize
		if s.Key >= 0x80 {
			size++
		}
		if s.Value >= 0x80 {
			size++
		}
		b[0] = pageItem
		i := putShort(b, 1, size)
		size += i
		b[i] = itemKey
		i = putShort(b, i+1, s.Key)
		i += copy(b[i:], both[:s.Key])
		b[i] = itemValue
		i = putShort(b, i+1, s.Value)
		i += copy(b[i:], both[s.Key:])
		putVersion(b[i:], itemVersion, s.Version)
		return dst[:start+size]
	}
	return nil
}

// AppendApplied appends the answer to request id that an Apply made this version, as a frame.
func AppendApplied(dst []byte, id uint32, version uint64) []byte {
	start := len(dst)
	if cap(dst)-start < appliedSize || !usualVersion(version) {
		dst, _ = EndFrame(AppendVersion(BeginFrame(dst, id, uint8(storage.OK), nil), version), start)
		return dst
	}
	b := dst[start : start+appliedSize]
	binary.LittleEndian.PutUint32(b, appliedSize-lengthWord)
	binary.LittleEndian.PutUint32(b[lengthWord:], id)
	binary.LittleEndian.PutUint32(b[kindAt:], uint32(storage.OK))
	putVersion(b[frameHead:], onlyUint, version)
	return dst[:start+appliedSize]
}

// appliedSize is the size of the usual answer to an Apply.
const appliedSize = frameHead + versionSize

// usualVersion reports whether the varint of v has nine bytes, as that of most versions.
func usualVersion(v uint64) bool { return v>>56 != 0 && v>>63 == 0 }

// versionSize is the size of the field of such a version.
const versionSize = 10

// putVersion writes the field of a usual version.
func putVersion(b []byte, tag byte, v uint64) {
	x := v&(1<<28-1) | v>>28&(1<<28-1)<<32
	x = x&0x00003fff00003fff | x>>14&0x00003fff00003fff<<16
	x = x&0x007f007f007f007f | x&0x3f803f803f803f80<<1
	b = b[:versionSize]
	b[0], b[9] = tag, byte(v>>56)
	binary.LittleEndian.PutUint64(b[1:], x|0x8080808080808080)
}

// putShort writes the varint of n, which is below 1<<14, and returns where it ends.
func putShort(b []byte, i, n int) int {
	if n < 0x80 {
		b[i] = byte(n)
		return i + 1
	}
	b[i], b[i+1] = byte(n)|0x80, byte(n>>7)
	return i + 2
}
