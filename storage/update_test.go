package storage_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// loser is a store whose first n commits are conflicts.
func loser(n int, retry storage.Backoff) (s *storage.Store, commits *int) {
	commits = new(int)
	b := &stub{apply: func(*storage.WriteSet) (uint64, error) {
		if *commits++; *commits <= n {
			return 0, storage.ConflictAt(0)
		}
		return 1, nil
	}}
	return storage.New(b, storage.Settings{Retry: retry}), commits
}

func write(tx *storage.Txn) error { return tx.Set(context.Background(), []byte("k"), nil) }

// Waits are drawn from [0, min(Cap, Base·2ⁿ)): never longer, and not all alike, also
// where they are shorter than a millisecond.
func TestUpdateBacksOffWithFullJitter(t *testing.T) {
	for _, retry := range []storage.Backoff{
		{Attempts: 12, Base: 10 * time.Millisecond, Cap: 300 * time.Millisecond},
		{Attempts: 12, Base: 50 * time.Microsecond, Cap: 500 * time.Microsecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			var total, most time.Duration
			const runs = 50
			for range runs {
				s, commits := loser(11, retry)
				var before time.Time
				attempt := 0
				must(t, s.Update(t.Context(), func(tx *storage.Txn) error {
					if attempt > 0 {
						wait, ceiling := time.Since(before), min(retry.Cap, retry.Base<<(attempt-1))
						if wait > ceiling {
							t.Errorf("%s before attempt %d, want at most %s", wait, attempt+1, ceiling)
						}
						total += wait
						most += ceiling
					}
					attempt, before = attempt+1, time.Now()
					return write(tx)
				}))
				if *commits != 12 {
					t.Fatalf("%d commits", *commits)
				}
			}
			if ratio := float64(total) / float64(most); ratio < 0.4 || ratio > 0.6 {
				t.Errorf("waits are %.2f of their ceilings, want about half", ratio)
			}
		})
	}
}

func TestUpdateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for attempts := 1; attempts < 5; attempts++ {
			s, commits := loser(1000, storage.Backoff{Attempts: attempts})
			wantCode(t, s.Update(t.Context(), write), storage.RetriesExhausted)
			if *commits != attempts {
				t.Errorf("%d commits, want %d", *commits, attempts)
			}
		}
		s, commits := loser(1000, storage.Backoff{})
		wantCode(t, s.Update(t.Context(), write), storage.RetriesExhausted)
		if want := storage.DefaultBackoff().Attempts; *commits != want {
			t.Errorf("%d commits by default, want %d", *commits, want)
		}
		start := time.Now()
		s, _ = loser(1000, storage.Backoff{Attempts: 100, Base: 1 << 62, Cap: time.Second}) // does not overflow
		wantCode(t, s.Update(t.Context(), write), storage.RetriesExhausted)
		if took := time.Since(start); took > 100*time.Second || took < 20*time.Second {
			t.Errorf("100 attempts with waits below a second take %s", took)
		}
	})
}

// A context that ends ends the waiting, and no attempt follows.
func TestUpdateEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, commits := loser(1000, storage.Backoff{Attempts: 1000, Base: time.Hour, Cap: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := s.Update(ctx, write)
		if storage.CodeOf(err) != storage.Timeout || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		before := *commits
		wantCode(t, s.Update(ctx, write), storage.Timeout)
		if *commits != before {
			t.Errorf("an Update under a context that has ended commits")
		}
	})
}

// Nothing but a conflict is tried again: what is unknown may have been applied.
func TestUpdateRepeatsOnlyConflicts(t *testing.T) {
	lost := &storage.Error{Code: storage.OutcomeUnknown, Unknown: true}
	applied := &storage.Error{Code: storage.Conflict, Unknown: true}
	caused := &storage.Error{Code: storage.OutcomeUnknown, Unknown: true, Err: storage.ErrConflict}
	for _, failure := range []error{lost, applied, caused, storage.ErrUnavailable, storage.ErrSizeLimit, storage.ErrTimeout, storage.ErrNoSpace} {
		commits := 0
		b := &stub{apply: func(*storage.WriteSet) (uint64, error) { commits++; return 0, failure }}
		wantCode(t, storage.New(b, storage.Settings{}).Update(t.Context(), write), storage.CodeOf(failure))
		if commits != 1 {
			t.Errorf("%v: %d commits", failure, commits)
		}
	}
	own := errors.New("mine")
	s, commits := loser(0, storage.Backoff{})
	if err := s.Update(t.Context(), func(*storage.Txn) error { return own }); err != own || *commits != 0 {
		t.Errorf("an error of the function: %v, %d commits", err, *commits)
	}
}

// A conflict out of the function repeats too, with a transaction of its own, and
// a panic leaves none open.
func TestUpdateGivesEachAttemptATransaction(t *testing.T) {
	s, _ := newModel(t)
	fill(t, s, "k")
	var seen []*storage.Txn
	must(t, errOf(s.UpdateIn(t.Context(), storage.ReadCommitted, func(tx *storage.Txn) error {
		if seen = append(seen, tx); len(seen) < 3 {
			return storage.ErrConflict
		}
		return tx.Set(t.Context(), []byte("k"), []byte("done"))
	})))
	wantValue(t, s, "k", "done")
	func() {
		defer func() { recover() }()
		s.Update(t.Context(), func(tx *storage.Txn) error { seen = append(seen, tx); panic("mine") })
	}()
	if len(seen) != 4 {
		t.Fatalf("%d transactions", len(seen))
	}
	for i, tx := range seen {
		if _, err := tx.Get(t.Context(), []byte("k")); storage.CodeOf(err) != storage.TxnDone {
			t.Errorf("transaction %d is still open: %v", i, err)
		}
	}
}

// Any closure can be repeated, and its result is returned.
func TestRetryOnConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		try := func(context.Context) (int, error) {
			if tries++; tries < 4 {
				return 0, storage.ErrConflict
			}
			return 7, nil
		}
		if n, err := storage.RetryOnConflict(t.Context(), storage.ClassicBackoff(), try); n != 7 || err != nil || tries != 4 {
			t.Errorf("%d, %v after %d tries", n, err, tries)
		}
		// The deadline ends it, however many attempts are left.
		start := time.Now()
		_, err := storage.RetryOnConflict(t.Context(), storage.Backoff{Attempts: 1 << 30, Base: time.Second, Cap: time.Second, Deadline: time.Minute},
			func(context.Context) (int, error) {
				if late := time.Since(start); late >= time.Minute {
					t.Errorf("an attempt begins after %s", late)
				}
				return 0, storage.ErrConflict
			})
		if took := time.Since(start); storage.CodeOf(err) != storage.RetriesExhausted || took < time.Minute || took > 61*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
	})
}
