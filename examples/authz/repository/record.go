package repository

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/storage"
)

// Errors beyond those of storage.
var (
	// ErrStale rejects a change that names another version than the current one.
	ErrStale = errors.New("the version is not the current one: read it again")
	// ErrSuspended rejects any call in a suspended organization.
	ErrSuspended = errors.New("the organization is suspended")
	// ErrNotEmpty rejects deleting an organization that has vaults.
	ErrNotEmpty = errors.New("the organization has vaults: delete them first")
	// ErrQuota rejects creating more than an organization may have.
	ErrQuota = errors.New("the organization has as many as it may have")
	// ErrReads ends a view that reads more than it may.
	ErrReads = errors.New("it reads too much")
	// ErrPrecondition rejects a change whose own conditions do not hold.
	ErrPrecondition = errors.New("a condition of the change does not hold")
)

// needed lists the capabilities that repositories require.
const needed = storage.CapVersions | storage.CapAtomic | storage.CapCheckOnly | storage.CapRangeCheck | storage.CapOrdered | storage.CapSnapshotGet

// CheckStore returns an error that names the capabilities that are missing in a store.
func CheckStore(s *storage.Store) error {
	if missing := needed &^ s.Info().Caps; missing != 0 {
		return storage.Errorf(storage.Unsupported, "the store does not support %s", strings.Join(missing.Names(), ", "))
	}
	return nil
}

// load reads the record at key, and its version.
func load[T any](ctx context.Context, kv storage.KV, key []byte) (v T, version uint64, err error) {
	it, err := kv.GetItem(ctx, key)
	if err != nil {
		return v, 0, err
	}
	v, err = storage.DecodeJSON[T](it.Value)
	return v, it.Version, err
}

// decide runs fn in a serializable transaction, again if it loses to another writer, and
// returns the version it landed at.
//
// fn may refuse because of what it has read, for example because a name is taken. Its reads may
// be of two states until they are committed: a record before another writer changed it, and its
// index after. decide therefore commits the reads of a refusal too, returns the refusal if that
// succeeds, and else runs fn again. fn must refuse before it writes anything.
func decide(ctx context.Context, s *storage.Store, fn func(tx *storage.Txn) error) (version uint64, err error) {
	var refusal error
	version, err = s.UpdateIn(ctx, storage.Serializable, func(tx *storage.Txn) error {
		refusal = nil
		err := fn(tx)
		if isRefusal(err) {
			refusal, err = err, nil
		}
		return err
	})
	if err == nil {
		err = refusal
	}
	return version, err
}

func isRefusal(err error) bool {
	for _, e := range []error{ErrStale, ErrSuspended, ErrNotEmpty, ErrQuota, ErrPrecondition, storage.ErrNotFound, storage.ErrAlreadyExists} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// claim takes a unique name for slug: at is the key of the name in its index.
func claim(ctx context.Context, tx *storage.Txn, at []byte, slug string) error {
	switch _, err := tx.Get(ctx, at); {
	case err == nil:
		return storage.Errorf(storage.AlreadyExists, "the name is taken")
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return tx.Set(ctx, at, []byte(slug))
}

// rename moves a name in its index, in the transaction that changes the record.
func rename(ctx context.Context, tx *storage.Txn, old, next []byte, slug string) error {
	if slices.Equal(old, next) {
		return nil
	}
	if err := claim(ctx, tx, next, slug); err != nil {
		return err
	}
	return tx.Delete(ctx, old)
}

// page calls each with at most limit items whose keys begin with prefix, after the key
// prefix+after, and returns the next after, or "" at the end.
func page(ctx context.Context, kv storage.KV, prefix, after string, limit int, each func(key, value []byte) error) (next string, err error) {
	o := storage.RangeOptions{Limit: limit + 1, PageItems: limit + 1}
	if after != "" {
		o.After = []byte(prefix + after)
	}
	n := 0
	for it, err := range kv.Prefix(ctx, []byte(prefix), o) {
		if err != nil {
			return "", err
		}
		if n++; n > limit {
			return next, nil
		}
		next = string(it.Key[len(prefix):])
		if err := each(it.Key, it.Value); err != nil {
			return "", err
		}
	}
	return "", nil
}
