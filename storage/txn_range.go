package storage

import (
	"context"
	"iter"
)

// Range iterates over [start, end) as [Store.Range] does, including the
// transaction's own writes, which have no version yet. The loop may or may
// not see what its body writes to the rest of the range. With
// Serializable, Commit checks that the range is unchanged, up to where the
// loop was left. That requires [CapRangeCheck]; without it, Range yields
// Unsupported.
func (t *Txn) Range(ctx context.Context, start, end []byte, o RangeOptions) iter.Seq2[Item, error] {
	used := false
	return func(yield func(Item, error) bool) {
		if err := t.rangeable(used); err != nil {
			yield(Item{}, err)
			return
		}
		used = true
		limit := o.Limit
		o.Limit = 0 // own writes may hide items: the limit counts what is left
		c, err := newCursor(t.s.b.Info(), start, end, o)
		if limit < 0 {
			err = Errorf(InvalidArgument, "a range limit is negative")
		}
		if err != nil {
			yield(Item{}, err)
			return
		}
		for !c.done {
			items, err := c.next(ctx, t.s.b)
			if err != nil {
				yield(Item{}, err)
				return
			}
			from, to := c.from, c.to
			for _, it := range t.own.merge(items, from, to, o.Reverse, o.KeysOnly) {
				t.sawItem(it)
				limit--
				if !yield(it, nil) || limit == 0 {
					if o.Reverse {
						from = it.Key
					} else {
						to = After(it.Key)
					}
					t.sawRange(from, to, c.version)
					return
				}
				if t.done {
					yield(Item{}, ErrTxnDone)
					return
				}
			}
			t.sawRange(from, to, c.version)
		}
	}
}

// Prefix iterates like [Txn.Range] over all keys that begin with prefix.
func (t *Txn) Prefix(ctx context.Context, prefix []byte, o RangeOptions) iter.Seq2[Item, error] {
	return t.Range(ctx, prefix, PrefixEnd(prefix), o)
}

func (t *Txn) rangeable(used bool) error {
	switch {
	case t.done:
		return ErrTxnDone
	case used:
		return errUsedRange()
	case t.level == Serializable && !t.s.b.Info().Caps.Has(CapVersions|CapRangeCheck):
		return Errorf(Unsupported, "the backend has no range checks, which a serializable range needs")
	}
	return nil
}

// sawItem makes a check of an item that a range gave. Own writes, which are at
// no version yet, need none.
func (t *Txn) sawItem(it Item) {
	if it.Version != 0 {
		t.sawKey(it.Key, it, true)
	}
}

// sawRange makes a check of [from, to): nothing in it may be newer than version.
func (t *Txn) sawRange(from, to []byte, version uint64) {
	if t.level == Serializable {
		t.reads = append(t.reads, NoneNewer(cloneKey(from), cloneKey(to), version))
	}
}

// cloneKey returns a copy that keeps nil nil and empty empty.
func cloneKey(key []byte) []byte {
	if key == nil {
		return nil
	}
	return append([]byte{}, key...)
}
