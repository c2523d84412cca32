package storage

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/plinthkv/plinth/internal/clock"
)

// Store gives applications all verbs over a [Backend]. It has no state except its backend
// and is safe for concurrent use.
//
// Errors match the sentinels by errors.Is, and [AsError] returns their details. A write
// whose error is Unknown may have been applied; any other error means that it was not.
type Store struct {
	b        Backend
	borrowed bool
	clock    func() time.Time
	retry    Backoff
}

// Settings configures [New].
type Settings struct {
	// Clock turns TTLs into expiries. It must be the one that the backend judges them
	// by, and must not go back: see package clock. If nil, it is [clock.System], which
	// backends use by default.
	Clock func() time.Time
	// Retry configures how Update and Touch repeat on Conflict. If zero, it is
	// [DefaultBackoff].
	Retry Backoff
	// Borrowed means that another owner closes the backend: [Store.Close] leaves it
	// open.
	Borrowed bool
}

// New returns the Store over b. The caller closes it, and b with it, unless s says that b
// is borrowed.
func New(b Backend, s Settings) *Store {
	if s.Clock == nil {
		s.Clock = clock.System().Now
	}
	return &Store{b: b, borrowed: s.Borrowed, clock: s.Clock, retry: s.Retry.orDefault()}
}

func (s *Store) backoff() Backoff { return s.retry }

// Backend returns the outermost stage of the store's pipeline.
func (s *Store) Backend() Backend { return s.b }

// Now returns the time of the store's clock.
func (s *Store) Now() time.Time { return s.clock() }

// Get returns the value at key, or [ErrNotFound]. An empty value is not
// nil.
func (s *Store) Get(ctx context.Context, key []byte) ([]byte, error) {
	it, err := s.b.Get(ctx, key)
	return it.Value, err
}

// GetItem returns the item at key with its version and expiry, if the backend has them,
// or [ErrNotFound].
func (s *Store) GetItem(ctx context.Context, key []byte) (Item, error) {
	it, err := s.b.Get(ctx, key)
	if err != nil {
		return Item{}, err
	}
	it.Key = bytes.Clone(key)
	return it, nil
}

// GetMany returns the items that exist among keys, in the order of keys, with repeats.
// It splits a call beyond the backend's limits, so that only a call within them is one
// view.
func (s *Store) GetMany(ctx context.Context, keys [][]byte) ([]Item, error) {
	limit := s.b.Info().Limits.GetKeys
	if limit <= 0 || len(keys) <= limit {
		return s.getMany(ctx, keys)
	}
	var all []Item
	for len(keys) > 0 {
		n := min(limit, len(keys))
		items, err := s.getMany(ctx, keys[:n])
		if err != nil {
			return nil, err
		}
		all, keys = append(all, items...), keys[n:]
	}
	return all, nil
}

// getMany halves a call whose answer would be too large.
func (s *Store) getMany(ctx context.Context, keys [][]byte) ([]Item, error) {
	items, err := s.b.GetMany(ctx, keys)
	if err == nil || len(keys) < 2 || !errors.Is(err, ErrRangeLimit) {
		return items, err
	}
	half := len(keys) / 2
	first, err := s.getMany(ctx, keys[:half])
	if err != nil {
		return nil, err
	}
	second, err := s.getMany(ctx, keys[half:])
	return append(first, second...), err
}

// Set stores value at key without an expiry, replacing any item. It is the short form
// of [Store.Put].
func (s *Store) Set(ctx context.Context, key, value []byte) error {
	_, err := s.write(ctx, nil, Put(key, value))
	return err
}

// Put stores value at key as opts say, replacing any item, and returns the new version; 0
// on a backend without [CapVersions]. If a condition does not hold, it changes nothing
// and returns [ErrConflict].
func (s *Store) Put(ctx context.Context, key, value []byte, opts ...PutOption) (version uint64, err error) {
	expiry, checks := gather(key, opts)
	at, err := expiry.from(s.clock)
	if err != nil {
		return 0, err
	}
	return s.write(ctx, checks, PutUntil(key, value, at))
}

// Delete removes key; an absent key is no error. It is the short form of [Store.Remove].
func (s *Store) Delete(ctx context.Context, key []byte) error {
	_, err := s.write(ctx, nil, Delete(key))
	return err
}

// Remove removes key if all conditions hold, and returns the new version, or the current
// one if the key was absent. If a condition does not hold, it changes nothing and returns
// [ErrConflict].
func (s *Store) Remove(ctx context.Context, key []byte, conditions ...Condition) (version uint64, err error) {
	return s.write(ctx, checks(key, conditions), Delete(key))
}

// Touch gives the item at key a new time to live, keeps its value, and returns the new
// version; a ttl of zero expires it. An absent key is [ErrNotFound].
func (s *Store) Touch(ctx context.Context, key []byte, ttl time.Duration) (version uint64, err error) {
	at, err := ExpiryAfter(s.clock(), ttl)
	if err != nil {
		return 0, err
	}
	return s.TouchUntil(ctx, key, at)
}

// TouchUntil sets the expiry of a key like Touch, to a time; the zero time means no expiry.
// Each attempt is one conditional Apply. If another writer wins, TouchUntil repeats it on
// the item which that writer left.
func (s *Store) TouchUntil(ctx context.Context, key []byte, at time.Time) (version uint64, err error) {
	at = ClampExpiry(at)
	return RetryOnConflict(ctx, s.retry, func(ctx context.Context) (uint64, error) {
		it, err := s.b.Get(ctx, key)
		if err != nil {
			return 0, err
		}
		return s.write(ctx, []Check{ifUnchanged(it).on(key)}, PutUntil(key, it.Value, at))
	})
}

// ClearRange removes every key in [start, end) in one Apply, and returns the new version.
// If end is nil, the range is unbounded. A backend that cannot do that in one Apply
// returns an error.
func (s *Store) ClearRange(ctx context.Context, start, end []byte) (version uint64, err error) {
	return s.write(ctx, nil, DeleteRange(start, end))
}

// Apply passes w to the backend unchanged: see [Backend].
func (s *Store) Apply(ctx context.Context, w *WriteSet) (uint64, error) { return s.b.Apply(ctx, w) }

func (s *Store) write(ctx context.Context, checks []Check, op Op) (uint64, error) {
	return s.b.Apply(ctx, &WriteSet{Checks: checks, Ops: []Op{op}})
}

// Health calls the backend: see [Backend].
func (s *Store) Health(ctx context.Context, p Probe) (Health, error) { return s.b.Health(ctx, p) }

// Info returns what is true above the whole pipeline.
func (s *Store) Info() Info { return s.b.Info() }

// Close closes the backend, unless it is borrowed, as a host's is: then Close does
// nothing, and the store stays usable. It is idempotent.
func (s *Store) Close(ctx context.Context) error {
	if s.borrowed {
		return nil
	}
	return s.b.Close(ctx)
}

// neverBeyond is the first moment that counts as never.
var neverBeyond = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)

// ExpiryAfter returns the expiry of an item that lives for ttl from now, rounded up to a
// millisecond. From the year 10000 on it is zero (never), and for a ttl of zero it is not
// after now. A negative ttl is InvalidArgument.
func ExpiryAfter(now time.Time, ttl time.Duration) (time.Time, error) {
	switch {
	case ttl < 0:
		return time.Time{}, Errorf(InvalidArgument, "the TTL is negative: %s", ttl)
	case ttl == 0:
		return now.Truncate(time.Millisecond), nil
	}
	return ClampExpiry(now.Add(ttl)), nil
}

// ClampExpiry returns at rounded up to a millisecond, and zero (never) from the year
// 10000 on: every carrier can transport the result.
func ClampExpiry(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	up := at.Truncate(time.Millisecond)
	if up.Before(at) {
		up = up.Add(time.Millisecond)
	}
	if !up.Before(neverBeyond) {
		return time.Time{}
	}
	return up
}
