package plugintest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// The host refuses by itself what a plugin's Info excludes, and so do checks over a
// backend never reach the plugin with it. There are other hosts: here it is asked.

// mostTried bounds the limits whose end is tried, in bytes.
const mostTried = 8 << 20

// limits asks for one more than each limit that the plugin states.
func limits(g *guest) error {
	if !g.filled {
		return notWritable(nil)
	}
	l := g.stated
	set := func(w storage.WriteSet) []byte { return abi.AppendWriteSet(nil, &w) }
	one := func(key, value []byte) []byte {
		return set(storage.WriteSet{Ops: []storage.Op{storage.Put(key, value)}})
	}
	tried := 0
	over := func(limit int, what string, op abi.Op, message func() []byte) error {
		if limit == 0 || limit > mostTried {
			return nil
		}
		tried++
		return g.refused(fmt.Sprintf("%s beyond the limit of %d", what, limit), op, message(), storage.SizeLimit)
	}
	for _, err := range []error{
		over(l.Key, "a put of a key", abi.OpApply, func() []byte { return one(make([]byte, l.Key+1), nil) }),
		over(l.Key, "a delete of a key", abi.OpApply, func() []byte {
			return set(storage.WriteSet{Ops: []storage.Op{storage.Delete(make([]byte, l.Key+1))}})
		}),
		over(l.Key, "a check of a key", abi.OpApply, func() []byte {
			return set(storage.WriteSet{Checks: []storage.Check{storage.Absent(make([]byte, l.Key+1))}, Ops: []storage.Op{storage.Put(refusedKey, nil)}})
		}),
		over(l.Value, "a value", abi.OpApply, func() []byte { return one(refusedKey, make([]byte, l.Value+1)) }),
		over(min(l.Ops, 1<<16), "ops", abi.OpApply, func() []byte {
			return set(storage.WriteSet{Ops: slices.Repeat([]storage.Op{storage.Put(refusedKey, nil)}, l.Ops+1)})
		}),
		over(min(l.Ops, 1<<16), "checks and ops", abi.OpApply, func() []byte {
			return set(storage.WriteSet{Checks: slices.Repeat([]storage.Check{storage.Absent(refusedKey)}, l.Ops), Ops: []storage.Op{storage.Put(refusedKey, nil)}})
		}),
		over(l.WriteBytes, "bytes of a write set", abi.OpApply, func() []byte { return set(g.ofBytes(l.WriteBytes + 1)) }),
		over(min(l.GetKeys, 1<<16), "keys of a get many", abi.OpGetMany, func() []byte {
			return abi.AppendGetMany(nil, slices.Repeat([][]byte{known}, l.GetKeys+1))
		}),
	} {
		if err != nil {
			return err
		}
	}
	if tried == 0 {
		return fmt.Errorf("%w: the plugin states no limit that can be tried", errNotApplicable)
	}
	return g.refusedNothing("a write set beyond a limit")
}

// ofBytes returns a write set of that many bytes of keys and values.
func (g *guest) ofBytes(n int) (w storage.WriteSet) {
	value := n
	if g.stated.Value > 0 {
		value = min(value, g.stated.Value)
	}
	for n > 0 {
		v := max(min(n-len(refusedKey), value), 0)
		w.Ops = append(w.Ops, storage.Put(refusedKey, make([]byte, v)))
		n -= len(refusedKey) + v
	}
	return w
}

// refusedNothing demands that nothing of what was refused is there.
func (g *guest) refusedNothing(what string) error {
	if v, err := g.store.Get(g.ctx, refusedKey); storage.CodeOf(err) != storage.NotFound {
		return fmt.Errorf("%s is refused, and leaves a value of %d bytes, %v", what, len(v), err)
	}
	return nil
}

// exempt checks that no limit applies to bounds of ranges, and to values that are compared.
func exempt(g *guest) error {
	l := g.stated
	if !g.filled || (l.Key == 0 || l.Key > 1<<20) && (l.Value == 0 || l.Value > mostTried) {
		return fmt.Errorf("%w: the plugin limits neither keys nor values", errNotApplicable)
	}
	if l.Key > 0 && l.Key <= 1<<20 {
		low, high := bytes.Repeat([]byte("p"), l.Key+100), bytes.Repeat([]byte("q"), l.Key+100)
		if err := g.refused("a scan with bounds longer than a key", abi.OpScan, abi.AppendQuery(nil, &storage.Query{Start: low, End: high}), storage.OK); err != nil {
			return err
		}
		w := storage.WriteSet{Ops: []storage.Op{storage.DeleteRange(low, high)}}
		if err := g.refused("a delete range with bounds longer than a key", abi.OpApply, abi.AppendWriteSet(nil, &w), storage.OK); err != nil {
			return err
		}
		if g.b.Info().Caps.Has(storage.CapRangeCheck) {
			w = storage.WriteSet{Checks: []storage.Check{storage.NoneNewer(low, high, 1)}, Ops: []storage.Op{storage.Delete(refusedKey)}}
			if err := g.refused("a range check with bounds longer than a key", abi.OpApply, abi.AppendWriteSet(nil, &w), storage.OK); err != nil {
				return err
			}
		}
	}
	if l.Value > 0 && l.Value <= mostTried && (l.WriteBytes == 0 || l.Value+100 < l.WriteBytes) {
		w := storage.WriteSet{Checks: []storage.Check{storage.HasValue(known, make([]byte, l.Value+1))}, Ops: []storage.Op{storage.Put(known, knownValue)}}
		return g.refused("a check for a value longer than one may be", abi.OpApply, abi.AppendWriteSet(nil, &w), storage.Conflict)
	}
	return nil
}

// firstRefusal has write sets that are wrong in several ways: too large comes first, then
// invalid, then unsupported, then what depends on the state.
func firstRefusal(g *guest) error {
	if !g.filled {
		return notWritable(nil)
	}
	state := []storage.Check{storage.Absent(known)} // it does not hold
	invalid := storage.Op{Kind: 99, Key: known}
	own := storage.Put(known, []byte("changed"))
	lacking, what := g.lacking()
	large := storage.Put(make([]byte, g.stated.Key+1), nil)
	limited := g.stated.Key > 0 && g.stated.Key <= mostTried
	atomic := g.b.Info().Caps.Has(storage.CapAtomic)
	all := []struct {
		what    string
		applies bool
		w       storage.WriteSet
		want    storage.Code
	}{
		{"an unknown op and a check that fails", true, storage.WriteSet{Checks: state, Ops: []storage.Op{invalid}}, storage.InvalidArgument},
		{"a key that is too long and a check that fails", limited, storage.WriteSet{Checks: append(state, storage.Absent(large.Key)), Ops: []storage.Op{own}}, storage.SizeLimit},
		{"an unknown op before a key that is too long", limited && atomic, storage.WriteSet{Ops: []storage.Op{invalid, large}}, storage.SizeLimit},
		{"a key that is too long before an unknown op", limited && atomic, storage.WriteSet{Ops: []storage.Op{large, invalid}}, storage.SizeLimit},
		{"an unknown check before a key that is too long", limited, storage.WriteSet{Checks: []storage.Check{{Kind: 99, Key: known}}, Ops: []storage.Op{large}}, storage.SizeLimit},
	}
	if what != "" {
		with := func(w storage.WriteSet) storage.WriteSet { lacking(&w); return w }
		all = append(all, []struct {
			what    string
			applies bool
			w       storage.WriteSet
			want    storage.Code
		}{
			{what + " and a check that fails", true, with(storage.WriteSet{Checks: state, Ops: []storage.Op{own}}), storage.Unsupported},
			{what + " and an unknown op", true, with(storage.WriteSet{Ops: []storage.Op{invalid}}), storage.InvalidArgument},
			{what + " and a key that is too long", limited, with(storage.WriteSet{Ops: []storage.Op{large}}), storage.SizeLimit},
		}...)
	}
	for _, c := range all {
		if !c.applies {
			continue
		}
		if err := g.refused("a write set with "+c.what, abi.OpApply, abi.AppendWriteSet(nil, &c.w), c.want); err != nil {
			return err
		}
	}
	return nil
}

// lacking returns what adds something that the plugin does not claim to a write set of one
// op. The text is empty if it claims all of it.
func (g *guest) lacking() (add func(*storage.WriteSet), what string) {
	caps := g.b.Info().Caps
	switch {
	case !caps.Has(storage.CapIdempotent):
		return func(w *storage.WriteSet) { w.ID = [16]byte{1} }, "an id"
	case !caps.Has(storage.CapRangeCheck):
		return func(w *storage.WriteSet) { w.Checks = append(slices.Clone(w.Checks), storage.NoneNewer(nil, nil, 1)) }, "a range check"
	case !caps.Has(storage.CapTTL):
		return func(w *storage.WriteSet) {
			w.Ops = append([]storage.Op{storage.PutUntil(refusedKey, nil, g.clock().Add(time.Hour))}, w.Ops...)
		}, "an expiry"
	}
	return nil, ""
}

// unclaimed asks for each capability that the plugin does not claim.
func unclaimed(g *guest) error {
	caps := g.b.Info().Caps
	write := func(w storage.WriteSet) []byte { return abi.AppendWriteSet(nil, &w) }
	own := []storage.Op{storage.Put(refusedKey, nil)}
	for _, c := range []struct {
		lacks   storage.Caps
		what    string
		op      abi.Op
		message []byte
	}{
		{storage.CapReverse, "a reverse scan", abi.OpScan, abi.AppendQuery(nil, &storage.Query{Reverse: true})},
		{storage.CapSnapshotScan, "a scan of an earlier version", abi.OpScan, abi.AppendQuery(nil, &storage.Query{AtVersion: 1})},
		{storage.CapChanges, "changes", abi.OpChanges, abi.AppendChangeQuery(nil, &storage.ChangeQuery{FromNow: true})},
		{storage.CapIdempotent, "an id", abi.OpApply, write(storage.WriteSet{ID: [16]byte{1}, Ops: own})},
		{storage.CapTTL, "an expiry", abi.OpApply, write(storage.WriteSet{Ops: []storage.Op{storage.PutUntil(refusedKey, nil, g.clock().Add(time.Hour))}})},
		{storage.CapAtomic, "two ops", abi.OpApply, write(storage.WriteSet{Ops: append(own, storage.Put([]byte("other"), nil))})},
		{storage.CapVersions, "a check of a version", abi.OpApply, write(storage.WriteSet{Checks: []storage.Check{storage.HasVersion(refusedKey, 1)}, Ops: own})},
		{storage.CapRangeCheck, "a range check", abi.OpApply, write(storage.WriteSet{Checks: []storage.Check{storage.NoneNewer([]byte("x"), nil, 1)}, Ops: own})},
		{storage.CapCheckOnly, "a check of a key that is not written", abi.OpApply, write(storage.WriteSet{Checks: []storage.Check{storage.Absent([]byte("x"))}, Ops: own})},
	} {
		if caps.Has(c.lacks) || c.op == abi.OpApply && !g.filled {
			continue
		}
		if err := g.refused(fmt.Sprintf("%s, which the plugin does not claim (%s),", c.what, c.lacks), c.op, c.message, storage.Unsupported); err != nil {
			return err
		}
	}
	if !g.filled {
		return nil
	}
	return g.refusedNothing("what the plugin does not claim")
}
