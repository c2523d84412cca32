package storage

import "context"

// Update runs fn in a Serializable transaction and commits it. If fn or the commit
// returns Conflict, it repeats all of it after a pause, as Settings.Retry says, and
// returns RetriesExhausted when that is used up. Any other error ends it at once, even an
// unknown outcome: only the caller can know whether fn may run twice. fn must not keep
// the transaction.
func (s *Store) Update(ctx context.Context, fn func(*Txn) error) error {
	_, err := s.UpdateIn(ctx, Serializable, fn)
	return err
}

// UpdateIn runs fn like Update, with the given isolation, and returns the version of the
// transaction, as [Txn.Commit] does.
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
