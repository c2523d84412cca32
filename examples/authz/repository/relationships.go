package repository

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"

	"github.com/plinthkv/plinth/storage"
)

// MaxChange limits the relationships of a change, conditions included. A store may accept
// fewer.
const MaxChange = 500

// Relationships stores relationships, each by its object and by its subject, in one write
// set. It is safe for concurrent use.
type Relationships struct{ store *storage.Store }

// NewRelationships keeps relationships in a store that [CheckStore] accepts.
func NewRelationships(store *storage.Store) *Relationships { return &Relationships{store} }

// Change describes what one write set does. Its conditions are about the state before it.
type Change struct {
	Write  []Relationship // a relationship that is there stays
	Delete []Relationship // one that is absent is no error

	Present []Relationship // must be there
	Absent  []Relationship // must not be there
}

func (c *Change) validate() error {
	n := len(c.Write) + len(c.Delete) + len(c.Present) + len(c.Absent)
	if n > MaxChange {
		return storage.LimitError(storage.SizeLimit, "relationships of a change", MaxChange, int64(n))
	}
	if len(c.Write)+len(c.Delete) == 0 {
		return invalid("the change writes and deletes nothing")
	}
	written := make(map[Relationship]bool, len(c.Write))
	for _, r := range c.Write {
		written[r] = true
	}
	for _, r := range c.Delete {
		if written[r] {
			return invalid("the change both writes and deletes %.80q", r.Object.String()+" "+r.Relation+" "+r.Subject.String())
		}
	}
	return nil
}

// Apply applies a change as a whole, or nothing of it, and returns the version it landed at.
// The error is [ErrPrecondition] if a condition does not hold, NotFound if there is no such
// vault, and [ErrSuspended] if its organization is suspended.
//
// A change says what is to be there afterwards. Apply therefore repeats one that loses to
// another writer, and judges its conditions again.
func (r *Relationships) Apply(ctx context.Context, id VaultID, c Change) (version uint64, err error) {
	if err := c.validate(); err != nil {
		return 0, err
	}
	return decide(ctx, r.store, func(tx *storage.Txn) error {
		if err := open(ctx, tx, id); err != nil {
			return err
		}
		if err := c.holds(ctx, tx, id); err != nil {
			return err
		}
		var errs []error
		for _, w := range c.Write {
			errs = append(errs, tx.Set(ctx, id.objectKey(&w), nil), tx.Set(ctx, id.subjectKey(&w), nil))
		}
		for _, d := range c.Delete {
			errs = append(errs, remove(ctx, tx, id, &d))
		}
		return errors.Join(errs...)
	})
}

func remove(ctx context.Context, tx *storage.Txn, id VaultID, r *Relationship) error {
	return errors.Join(tx.Delete(ctx, id.objectKey(r)), tx.Delete(ctx, id.subjectKey(r)))
}

// open reads the vault and its organization, and reports why the vault cannot be used.
func open(ctx context.Context, kv storage.KV, id VaultID) error {
	items, err := kv.GetMany(ctx, [][]byte{organizationKey(id.Org), id.key()})
	if err != nil {
		return err
	}
	return id.usable(items)
}

// usable reports why a vault cannot be used. items begin with the records of its organization
// and of the vault itself, as far as they exist.
func (v VaultID) usable(items []storage.Item) error {
	if len(items) < 2 || !bytes.Equal(items[0].Key, organizationKey(v.Org)) || !bytes.Equal(items[1].Key, v.key()) {
		return storage.Errorf(storage.NotFound, "no such vault")
	}
	org, err := storage.DecodeJSON[Organization](items[0].Value)
	if err != nil {
		return err
	}
	vault, err := storage.DecodeJSON[Vault](items[1].Value)
	switch {
	case err != nil:
		return err
	case org.State != Active:
		return ErrSuspended
	case vault.State != Active:
		return storage.Errorf(storage.NotFound, "the vault is being deleted")
	}
	return nil
}

// holds judges the conditions of a change. Its reads become conditions of the commit.
func (c *Change) holds(ctx context.Context, tx *storage.Txn, id VaultID) error {
	keys := make([][]byte, 0, len(c.Present)+len(c.Absent))
	for _, r := range c.Present {
		keys = append(keys, id.objectKey(&r))
	}
	for _, r := range c.Absent {
		keys = append(keys, id.objectKey(&r))
	}
	if len(keys) == 0 {
		return nil
	}
	items, err := tx.GetMany(ctx, keys)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(items))
	for _, it := range items {
		there[string(it.Key)] = true
	}
	for i, key := range keys {
		if there[string(key)] != (i < len(c.Present)) {
			return ErrPrecondition
		}
	}
	return nil
}

// Filter selects the relationships of a list.
type Filter struct {
	Object   Object // of this object; if zero, see Subject
	Relation string // of this relation to the object; if empty, of all

	Subject Subject // of this subject; used if Object is zero; if both are zero, all
}

func (f *Filter) prefix(id VaultID) (prefix string, parse func([]byte) (Relationship, error)) {
	switch {
	case f.Object != Object{}:
		prefix = id.byObject() + f.Object.Type + "/" + f.Object.ID + "/"
		if f.Relation != "" {
			prefix += f.Relation + "/"
		}
	case f.Subject != Subject{}:
		s := f.Subject
		return id.bySubject() + s.Object.Type + "/" + s.Object.ID + "/" + s.Relation + "/", id.parseSubjectKey
	default:
		prefix = id.byObject()
	}
	return prefix, id.parseObjectKey
}

// List returns relationships in the order of their keys, at most limit of those after a
// cursor, and the cursor to go on with. Each page is one state.
func (r *Relationships) List(ctx context.Context, id VaultID, f Filter, cursor string, limit int) (list []Relationship, next string, err error) {
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, "", invalid("the cursor is not one that a list returned")
	}
	if err := open(ctx, r.store, id); err != nil {
		return nil, "", err
	}
	prefix, parse := f.prefix(id)
	next, err = page(ctx, r.store, prefix, string(after), limit, func(key, _ []byte) error {
		one, err := parse(key)
		list = append(list, one)
		return err
	})
	return list, base64.RawURLEncoding.EncodeToString([]byte(next)), err
}

// RemoveSubject removes all relationships of a subject, such as those of a user who has
// left, and returns how many they were. They are found by the index and removed in steps of
// as many as a write set takes; each step is done as a whole.
func (r *Relationships) RemoveSubject(ctx context.Context, id VaultID, s Subject) (removed int, err error) {
	f := Filter{Subject: s}
	prefix, parse := f.prefix(id)
	step := r.step()
	for {
		n := 0
		_, err := decide(ctx, r.store, func(tx *storage.Txn) error {
			n = 0
			if err := open(ctx, tx, id); err != nil {
				return err
			}
			_, err := page(ctx, tx, prefix, "", step, func(key, _ []byte) error {
				one, err := parse(key)
				if err != nil {
					return err
				}
				n++
				return remove(ctx, tx, id, &one)
			})
			return err
		})
		if err != nil || n == 0 {
			return removed, err
		}
		removed += n
	}
}

// step returns how many relationships a transaction can find in a range and remove: each is one
// condition and two deletes, and there are four more conditions.
func (r *Relationships) step() int {
	if most := r.store.Info().Limits.Ops; most > 0 {
		return min(MaxChange, max(1, (most-4)/3))
	}
	return MaxChange
}
