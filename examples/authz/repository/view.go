package repository

import (
	"context"
	"fmt"

	"github.com/plinthkv/plinth/storage"
)

// View reads the relationships of a vault as they were at one moment. It belongs to the
// function that [Relationships.View] runs.
type View struct {
	tx    *storage.Txn
	id    VaultID
	calls int // reads of the store
	left  int // keys, ranges and items that may still be read
	most  int
}

// View runs fn on one state of a vault, which is not older than the call: what was changed
// before it is seen. A state is one of the transaction's: what fn read is compared at its
// end, and fn is run again if any of it has changed. A single call of the store is one state
// as it is, and ends without that.
//
// fn may read at most reads keys, ranges and items, or as many as a write set of the store
// may have conditions, if that is less: beyond it is [ErrReads].
func (r *Relationships) View(ctx context.Context, id VaultID, reads int, fn func(*View) error) error {
	if most := r.store.Info().Limits.Ops; most > 0 {
		reads = min(reads, most)
	}
	_, err := storage.RetryOnConflict(ctx, storage.DefaultBackoff(), func(ctx context.Context) (none struct{}, err error) {
		v := &View{tx: r.store.Begin(storage.Serializable), id: id, left: reads, most: reads}
		defer v.tx.Rollback()
		if err := fn(v); err != nil || v.calls == 1 {
			return none, err
		}
		_, err = v.tx.Commit(ctx)
		return none, err
	})
	return err
}

// Reads returns how many keys, ranges and items were read.
func (v *View) Reads() int { return v.most - v.left }

// spend counts n reads before they are made.
func (v *View) spend(n int) error {
	if n > v.left {
		return fmt.Errorf("%w: at most %d keys, ranges and items", ErrReads, v.most)
	}
	v.left -= n
	return nil
}

// Any reports whether the subject is in one of the usersets itself, without indirection. The
// first call also finds out whether the vault can be used: its errors are those of
// [Relationships.Apply].
func (v *View) Any(ctx context.Context, sets []Userset, s Subject) (bool, error) {
	var keys [][]byte
	first := v.calls == 0
	if first {
		keys = append(keys, organizationKey(v.id.Org), v.id.key())
	}
	for _, u := range sets {
		keys = append(keys, v.id.objectKey(&Relationship{u.Object, u.Relation, s}))
	}
	if err := v.spend(len(keys)); err != nil {
		return false, err
	}
	v.calls++
	items, err := v.tx.GetMany(ctx, keys)
	if err != nil || !first {
		return len(items) > 0, err
	}
	if err := usable(items); err != nil {
		return false, err
	}
	return len(items) > 2, nil
}

// Usersets calls each with the usersets that are subjects of one, in the order of their keys.
func (v *View) Usersets(ctx context.Context, of Userset, each func(Userset)) error {
	if err := v.spend(1); err != nil {
		return err
	}
	v.calls++
	prefix := []byte(v.id.byObject() + of.Object.Type + "/" + of.Object.ID + "/" + of.Relation + "/" + usersets + "/")
	for it, err := range v.tx.Prefix(ctx, prefix, storage.RangeOptions{PageItems: min(v.left+1, 256)}) {
		if err != nil {
			return err
		}
		if err := v.spend(1); err != nil {
			return err
		}
		r, err := v.id.parseObjectKey(it.Key)
		if err != nil {
			return err
		}
		each(Userset(r.Subject))
	}
	return nil
}
