package repository

import (
	"context"
	"fmt"

	"github.com/plinthkv/plinth/storage"
)

// View reads the relationships of a vault as they were at one moment. It is valid within the
// function that [Relationships.View] runs.
type View struct {
	tx    *storage.Txn
	id    VaultID
	calls int // of the store
	left  int // keys, ranges and items that may still be read
	most  int
}

// View runs fn on one state of a vault, no older than the call. fn reads in a transaction; at
// the end everything that it has read is compared in a write set without ops, and fn runs again
// if any of it has changed. A view of a single call of the store skips the comparison, because
// one call reads one state.
//
// fn may read at most reads keys, ranges and items, or fewer if a write set of the store accepts
// fewer conditions. A read beyond that is [ErrReads].
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

// spend counts n reads, before they are made if their number is known.
func (v *View) spend(n int) error {
	if n > v.left {
		return fmt.Errorf("%w: at most %d keys, ranges and items", ErrReads, v.most)
	}
	v.left -= n
	return nil
}

// Any reports whether the subject is in one of the usersets without indirection. The first
// call of a view also reads the vault and its organization, and returns the errors of
// [Relationships.Apply] if the vault cannot be used.
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
	if err := v.id.usable(items); err != nil {
		return false, err
	}
	return len(items) > 2, nil
}

// Usersets calls each with every userset that is a subject of one, in the order of their keys.
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
