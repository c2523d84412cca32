package storage

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// Isolation is what a transaction's reads are worth at its commit.
type Isolation uint8

const (
	// ReadCommitted checks nothing of what was only read: another writer may
	// change it before the commit. Conditional writes are checked.
	ReadCommitted Isolation = iota
	// Serializable makes a check of everything that was read, ranges included,
	// so that the commit is as if the transaction had run alone, or a Conflict.
	Serializable
)

// Txn is a transaction: one ordered log of writes, kept here until Commit makes
// one Apply of it. Nothing is locked or reserved meanwhile. Its reads see its
// own writes. It is not safe for concurrent use. Nothing but memory is lost by
// dropping it, but a deferred Rollback says what is meant. After Commit or
// Rollback every method answers [ErrTxnDone].
type Txn struct {
	s     *Store
	level Isolation
	done  bool
	log   []logged
	own   overlay
	// checks are those of conditional writes, reads those of what was read, ranges
	// included. first is where in reads the first read of a key is.
	checks []Check
	reads  []Check
	first  map[string]int
}

// logged is an op whose TTL is counted from the commit.
type logged struct {
	Op
	ttl     time.Duration
	expires bool
}

// Begin starts a transaction with the given isolation.
func (s *Store) Begin(level Isolation) *Txn { return &Txn{s: s, level: level} }

// Get answers the value at key, with the transaction's own writes, or
// [ErrNotFound].
func (t *Txn) Get(ctx context.Context, key []byte) ([]byte, error) {
	if t.done {
		return nil, ErrTxnDone
	}
	if p, known := t.own.get(key); known {
		if !p.present {
			return nil, ErrNotFound
		}
		return append([]byte{}, p.value...), nil
	}
	it, err := t.s.b.Get(ctx, key)
	if err == nil || errors.Is(err, ErrNotFound) {
		t.sawKey(key, it, err == nil)
	}
	return it.Value, err
}

// sawKey makes a check of a read of a key. A later read that differs becomes
// another: no state passes both, and the first alone might hold again by then,
// as when a key was absent, present and absent again.
func (t *Txn) sawKey(key []byte, it Item, present bool) {
	if t.level != Serializable {
		return
	}
	check := Check{Kind: CheckAbsent, Key: key}
	if present {
		check = sameItem(key, it)
	}
	if at, seen := t.first[string(key)]; !seen {
		if t.first == nil {
			t.first = map[string]int{}
		}
		t.first[string(key)] = len(t.reads)
	} else if first := &t.reads[at]; first.Kind == check.Kind && first.Version == check.Version && bytes.Equal(first.Value, check.Value) {
		return
	}
	check.Key, check.Value = bytes.Clone(key), bytes.Clone(check.Value)
	t.reads = append(t.reads, check)
}

// Set writes value at key for ever.
func (t *Txn) Set(_ context.Context, key, value []byte) error {
	return t.put(key, value, 0, false)
}

// SetWithTTL writes value at key for ttl, counted from the commit. Zero removes
// the key; negative is InvalidArgument.
func (t *Txn) SetWithTTL(_ context.Context, key, value []byte, ttl time.Duration) error {
	return t.put(key, value, ttl, true)
}

// Delete removes key.
func (t *Txn) Delete(_ context.Context, key []byte) error {
	if t.done {
		return ErrTxnDone
	}
	if err := t.s.b.Info().Limits.CheckKey(key); err != nil {
		return err
	}
	t.append(logged{Op: Delete(bytes.Clone(key))}, pending{})
	return nil
}

// CompareAndSet writes value at key if the key is as expected. A key that this
// transaction has written is judged by that at once: a mismatch is
// [ErrConflict], changes nothing and leaves the transaction usable. Any other
// key is judged at the commit.
func (t *Txn) CompareAndSet(_ context.Context, key []byte, expected Expected, value []byte) error {
	return t.conditional(key, expected, func() error { return t.put(key, value, 0, false) })
}

// CompareAndSetWithTTL is CompareAndSet with an expiry, as SetWithTTL has it.
func (t *Txn) CompareAndSetWithTTL(_ context.Context, key []byte, expected Expected, value []byte, ttl time.Duration) error {
	return t.conditional(key, expected, func() error { return t.put(key, value, ttl, true) })
}

// CompareAndDelete removes key if it is as expected, judged as by CompareAndSet.
func (t *Txn) CompareAndDelete(ctx context.Context, key []byte, expected Expected) error {
	return t.conditional(key, expected, func() error { return t.Delete(ctx, key) })
}

// ClearRange removes every key in [start, end), nil end: unbounded, those that
// others add before the commit included.
func (t *Txn) ClearRange(_ context.Context, start, end []byte) error {
	if t.done {
		return ErrTxnDone
	}
	start, end = bytes.Clone(start), bytes.Clone(end)
	if !EmptyRange(start, end) {
		t.log = append(t.log, logged{Op: DeleteRange(start, end)})
		t.own.deleteRange(start, end)
	}
	return nil
}

func (t *Txn) put(key, value []byte, ttl time.Duration, expires bool) error {
	if t.done {
		return ErrTxnDone
	}
	limits := t.s.b.Info().Limits
	if err := errors.Join(limits.CheckKey(key), limits.CheckValue(value)); err != nil {
		return AsError(err)
	}
	if ttl < 0 {
		return Errorf(InvalidArgument, "the TTL is negative: %s", ttl)
	}
	op := Put(bytes.Clone(key), append([]byte{}, value...))
	t.append(logged{Op: op, ttl: ttl, expires: expires}, pending{value: op.Value, present: !expires || ttl > 0})
	return nil
}

func (t *Txn) append(l logged, p pending) {
	t.log = append(t.log, l)
	t.own.set(l.Key, p)
}

func (t *Txn) conditional(key []byte, expected Expected, write func() error) error {
	if t.done {
		return ErrTxnDone
	}
	p, known := t.own.get(key)
	if known && !expected.holds(p.value, p.present) {
		return &Error{Code: Conflict, Msg: "conflict with an earlier write of the transaction"}
	}
	if err := write(); err != nil || known {
		return err
	}
	check := expected.check(bytes.Clone(key))
	check.Value = bytes.Clone(check.Value)
	t.checks = append(t.checks, check)
	return nil
}

// Commit applies all writes at once, if every check holds, and ends the
// transaction whatever the outcome. An error that is not Unknown means that
// nothing was applied. Without writes and checks it does nothing.
func (t *Txn) Commit(ctx context.Context) error {
	if t.done {
		return ErrTxnDone
	}
	t.done = true
	if err := ContextError(ctx); err != nil {
		return err
	}
	w := WriteSet{Checks: append(t.checks, t.reads...)}
	now := t.s.clock()
	for _, l := range t.log {
		if l.expires {
			l.ExpiresAt, _ = ExpiryAfter(now, l.ttl) // put has refused negative ones
		}
		w.Ops = append(w.Ops, l.Op)
	}
	if len(w.Ops) == 0 && len(w.Checks) == 0 {
		return nil
	}
	_, err := t.s.b.Apply(ctx, &w)
	return err
}

// Rollback ends the transaction and drops its writes. After the end it does
// nothing, so that it may be deferred.
func (t *Txn) Rollback() {
	t.done = true
	t.log, t.own, t.checks, t.reads, t.first = nil, overlay{}, nil, nil, nil
}
