package ledger

import (
	"bytes"
	"encoding/hex"

	"github.com/plinthkv/plinth/storage"
)

// maxKey limits a key, in bytes: the server accepts 1024 of its own, which are the
// hexadecimal digits of ours.
const maxKey = 512

// entityKey returns the name of a key on the server: two lower-case hexadecimal digits a
// byte, so that order and prefixes stay.
func entityKey(key []byte) string { return hex.EncodeToString(key) }

// rawKey returns the key that an entity is, or false if it is none of ours.
func rawKey(entity string) ([]byte, bool) {
	key, err := hex.DecodeString(entity)
	return key, err == nil && len(key) > 0
}

// checkKey refuses a key that no entity can have.
func checkKey(key []byte) error {
	if len(key) == 0 {
		return storage.Errorf(storage.InvalidArgument, "the key is empty: Ledger has no empty keys")
	}
	return storage.Limits{Key: maxKey}.CheckKey(key)
}

// part is what one prefix of entity keys covers of a range.
type part struct {
	prefix string
	first  []byte // no key of the part is before it
}

// cover returns the parts, in order, that hold every key of [start, end). No prefix is
// empty, because the empty one would also list the server's own keys.
func cover(start, end []byte) (parts []part) {
	if storage.EmptyRange(start, end) || len(end) == 0 && end != nil {
		return nil
	}
	from, to := entityKey(start), entityKey(end)
	if end != nil {
		n := 0
		for n < len(from) && n < len(to) && from[n] == to[n] {
			n++
		}
		switch {
		case n > 2*maxKey: // no key is as long
			return nil
		case n > 0:
			return []part{{from[:n], start}}
		}
	}
	first, last := byte(0), byte(0xF)
	if len(start) > 0 {
		first = start[0] >> 4
	}
	if end != nil {
		last = end[0] >> 4
		if len(end) == 1 && end[0]&0xF == 0 { // nothing of that nibble is before it
			if last == 0 {
				return nil
			}
			last--
		}
	}
	for n := first; n <= last; n++ {
		parts = append(parts, part{entityKey([]byte{n})[1:], bytes.Clone([]byte{n << 4})})
	}
	return parts
}
