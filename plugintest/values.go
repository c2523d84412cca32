package plugintest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// number and field are fields of a message, as no encoder of the ABI would write some of
// them: with any value, in any order.
func number(n int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(n)<<3), v)
}

func field(n int, parts ...[]byte) []byte {
	v := slices.Concat(parts...)
	return append(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(n)<<3|2), uint64(len(v))), v...)
}

// The fields of a write set, of its checks and of its ops.
const (
	setID, setCheck, setOp                                         = 1, 2, 3
	partKind, partKey, partEnd, partValue, partVersion, partExpiry = 1, 2, 3, 4, 5, 5
)

// refusedKey is one that no refused write set may leave anything at.
var refusedKey = []byte("refused")

func kindIs[K ~uint8](k K) []byte { return number(partKind, uint64(k)) }

// put returns an op that stores something at refusedKey, with more fields.
func put(more ...[]byte) []byte {
	return field(setOp, append([][]byte{kindIs(storage.OpPut), field(partKey, refusedKey), field(partValue, []byte("v"))}, more...)...)
}

// part returns an op or a check with a key.
func part(n int, kind uint64, key []byte, more ...[]byte) []byte {
	return field(n, append([][]byte{number(partKind, kind), field(partKey, key)}, more...)...)
}

// badValue is a request that says something that it may not.
type badValue struct {
	what    string
	op      abi.Op
	message []byte
}

var minusOne = ^uint64(0)

// refusedValues demands that each of all is refused and changes nothing.
func (g *guest) refusedValues(all []badValue) error {
	for _, c := range all {
		if c.op == abi.OpApply && !g.filled {
			continue
		}
		want := []storage.Code{storage.InvalidArgument, storage.Serialization}
		if g.plain {
			want = append(want, storage.Internal) // a generated server refuses by itself what is no message
		}
		if err := g.refused(c.what, c.op, c.message, want...); err != nil {
			return err
		}
		if c.op != abi.OpApply {
			continue
		}
		if v, err := g.store.Get(g.ctx, refusedKey); !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("%s is refused, and leaves %q, %v", c.what, v, err)
		}
		if v, err := g.store.Get(g.ctx, known); err != nil || string(v) != string(knownValue) {
			return fmt.Errorf("%s is refused, and makes %q of %q, %v", c.what, v, knownValue, err)
		}
	}
	return nil
}

// largeKinds sends kinds above 255, which are another's in 8 bits.
func largeKinds(g *guest) error {
	return g.refusedValues([]badValue{
		{"probe 257", abi.OpHealth, number(1, 257)},
		{"probe -1", abi.OpHealth, number(1, minusOne)},
		{"op kind 257, which is a put in 8 bits,", abi.OpApply, part(setOp, 257, refusedKey)},
		{"op kind 258, which is a delete in 8 bits,", abi.OpApply, part(setOp, 258, known)},
		{"op kind 259, which is a delete range in 8 bits,", abi.OpApply, part(setOp, 259, known)},
		{"op kind -1", abi.OpApply, part(setOp, minusOne, refusedKey)},
		{"check kind 258, which holds in 8 bits,", abi.OpApply, slices.Concat(part(setCheck, 258, known), part(setOp, 1, known))},
		{"check kind -1", abi.OpApply, slices.Concat(part(setCheck, minusOne, known), part(setOp, 1, known))},
	})
}

// negatives sends times before 1970 and ids of an invalid length.
func negatives(g *guest) error {
	id := func(n int) []byte { return slices.Concat(field(setID, make([]byte, n)), put()) }
	all := []badValue{
		{"a put with the expiry -1", abi.OpApply, put(number(partExpiry, minusOne))},
		{"a put with the least expiry", abi.OpApply, put(number(partExpiry, 1<<63))},
	}
	for _, n := range []int{1, 15, 17, 32} {
		all = append(all, badValue{fmt.Sprintf("an id of %d bytes", n), abi.OpApply, id(n)})
	}
	return g.refusedValues(all)
}

// meaningless sends ops with fields that their kind does not use, and checks of what no
// item has.
func meaningless(g *guest) error {
	hour := number(partExpiry, uint64(g.clock().Add(time.Hour).UnixMilli()))
	return g.refusedValues([]badValue{
		{"a put with an end", abi.OpApply, put(field(partEnd, []byte("z")))},
		{"a put with an empty end", abi.OpApply, put(field(partEnd))},
		{"a delete with an end", abi.OpApply, part(setOp, 2, known, field(partEnd, []byte("z")))},
		{"a delete with an empty end", abi.OpApply, part(setOp, 2, known, field(partEnd))},
		{"a delete with a value", abi.OpApply, part(setOp, 2, known, field(partValue, knownValue))},
		{"a delete with an expiry", abi.OpApply, part(setOp, 2, known, hour)},
		{"a delete range with a value", abi.OpApply, part(setOp, 3, known, field(partEnd, []byte("z")), field(partValue, knownValue))},
		{"a delete range with an expiry", abi.OpApply, part(setOp, 3, known, field(partEnd, []byte("z")), hour)},
		{"an op of kind 0", abi.OpApply, field(setOp, field(partKey, refusedKey))},
		{"a check of kind 0", abi.OpApply, slices.Concat(field(setCheck, field(partKey, refusedKey)), put())},
		{"a check of version 0", abi.OpApply, slices.Concat(part(setCheck, 4, refusedKey), put())},
		{"probe 0", abi.OpHealth, nil},
	})
}

// forms sends valid requests in forms that this host does not write.
func forms(g *guest) error {
	if !g.filled {
		return notWritable(nil)
	}
	other, end := []byte("other"), field(partEnd, []byte("z"))
	junk := slices.Concat(number(99, 5), field(98, []byte("xy")))
	check := func(kind storage.CheckKind, key []byte, more ...[]byte) []byte {
		return part(setCheck, uint64(kind), key, append(more, junk)...)
	}
	type form struct {
		what    string
		message []byte
		leaves  string // of the known item
	}
	same := string(knownValue)
	all := []form{
		{"an id of zeros, which is none", slices.Concat(field(setID, make([]byte, 16)), part(setOp, 1, other)), same},
		{"a check for presence with a value, a version and an end", slices.Concat(check(storage.CheckPresent, known, end, field(partValue, []byte("w")), number(partVersion, 7)), part(setOp, 1, known, field(partValue, knownValue))), same},
		{"a check for a value with a version and an end", slices.Concat(check(storage.CheckValue, known, field(partValue, knownValue), number(partVersion, 7), end), part(setOp, 1, known, field(partValue, knownValue))), same},
		{"an op before the check, its fields in another order", slices.Concat(field(setOp, junk, field(partValue, []byte("new")), field(partKey, known), kindIs(storage.OpPut)), check(storage.CheckPresent, known)), "new"},
		{"a key that is written twice, of which the last counts", part(setOp, 2, known, field(partKey, other)), same},
		{"unknown fields", slices.Concat(junk, part(setOp, 2, other, junk)), same},
	}
	if g.b.Info().Caps.Has(storage.CapTTL) {
		all = append(all, form{"the last expiry, which is never,", part(setOp, 1, known, field(partValue, knownValue), number(partExpiry, math.MaxInt64)), same})
	}
	for _, c := range all {
		if err := g.refused("a write set with "+c.what, abi.OpApply, c.message, storage.OK); err != nil {
			return err
		}
		if v, err := g.store.Get(g.ctx, known); err != nil || string(v) != c.leaves {
			return fmt.Errorf("a write set with %s: an item reads %q, %v, want %q", c.what, v, err, c.leaves)
		}
		if err := g.store.Set(g.ctx, known, knownValue); err != nil {
			return err
		}
	}
	return g.reads()
}

// reads are of the same kind: of a get and of a scan.
func (g *guest) reads() error {
	code, message, err := g.ask(abi.OpGet, slices.Concat(field(1, []byte("not this")), field(1, known)))
	if err == nil {
		err = g.isKnown(code, message)
	}
	if err != nil {
		return fmt.Errorf("a get with two keys, of which the last counts: %w", err)
	}
	// limit 2 in two bytes, keys_only as 2, and an unknown field between them.
	code, message, err = g.ask(abi.OpScan, slices.Concat([]byte{3 << 3, 0x82, 0}, field(99, []byte("x")), number(6, 2), field(1, known)))
	var page storage.Page
	if err == nil && code == storage.OK {
		err = abi.DecodePage(message, &page)
	}
	if err != nil || code != storage.OK || len(page.Items) != 1 || string(page.Items[0].Key) != string(known) || page.Items[0].Value != nil {
		return fmt.Errorf("a scan for keys from %q is answered with %s, %+v, %w", known, code.Name(), page.Items, err)
	}
	code, message, err = g.ask(abi.OpScan, field(2))
	page = storage.Page{}
	if err == nil && code == storage.OK {
		err = abi.DecodePage(message, &page)
	}
	if err != nil || code != storage.OK || len(page.Items) != 0 || page.Next != nil {
		return fmt.Errorf("a scan with an end that is present and empty is answered with %s, %d items, next %q, %w, want none", code.Name(), len(page.Items), page.Next, err)
	}
	return nil
}

// isKnown reports whether an answer is the known item, as a get returns it.
func (g *guest) isKnown(code storage.Code, message []byte) error {
	if code != storage.OK {
		return fmt.Errorf("it is answered with %s", code.Name())
	}
	var it storage.Item
	if err := abi.DecodeItem(message, &it); err != nil {
		return err
	}
	if it.Key != nil || string(it.Value) != string(knownValue) {
		return fmt.Errorf("it is answered with the key %q and the value %q, want no key and %q", it.Key, it.Value, knownValue)
	}
	return nil
}

// notWritable returns the result of a check that writes, for a plugin that does not.
func notWritable(err error) error {
	if err == nil {
		return fmt.Errorf("%w: the plugin cannot be written to", errNotApplicable)
	}
	return fmt.Errorf("%w: the plugin cannot be written to: %v", errNotApplicable, err)
}
