package storage

import "context"

// Update runs fn in a Serializable transaction and commits it. On Conflict, of
// the commit or out of fn, all of it is run again after a pause, as
// Settings.Retry says; RetriesExhausted when that is used up. Any other error
// ends it at once, an unknown outcome included: only the caller can know whether
// fn may run twice. fn must not keep the transaction.
func (s *Store) Update(ctx context.Context, fn func(*Txn) error) error {
	_, err := s.UpdateIn(ctx, Serializable, fn)
	return err
}

// UpdateIn is Update with the isolation given, and returns the version that the
// transaction landed at, as [Txn.Commit] does.
func (s *Store) UpdateIn(ctx context.Context, level Isolation, fn func(*Txn) error) (version uint64, err error) {
	return RetryOnConflict(ctx, s.retry, func(ctx context.Context) (uint64, error) {
		if err := ContextError(ctx); err != nil {
			return 0, err
		}
		t := s.Begin(level)
		defer t.Rollback()
		if err := fn(t); err != nil {
			return 0, err
		}
		return t.Commit(ctx)
	})
}
