package storage

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// Isolation says which reads of a transaction must still hold at its commit.
type Isolation uint8

const (
	// ReadCommitted checks no reads: another writer may change what was read before the
	// commit. Conditional writes are checked.
	ReadCommitted Isolation = iota
	// Serializable checks everything that was read, including ranges, so that the commit
	// is equivalent to running the transaction alone, or ends in Conflict.
	Serializable
)

// Txn collects the writes of a transaction in memory, in order, until Commit makes one
// Apply of it. It locks and reserves nothing. Its reads see its own writes. It is not safe
// for concurrent use. A transaction may be dropped without Rollback, but a deferred
// Rollback makes that clear. After Commit or Rollback every method returns [ErrTxnDone].
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
	expiry expiry
}

// Begin starts a transaction with the given isolation.
func (s *Store) Begin(level Isolation) *Txn { return &Txn{s: s, level: level} }

// Get returns the value at key, including the transaction's own writes, or
// [ErrNotFound].
func (t *Txn) Get(ctx context.Context, key []byte) ([]byte, error) {
	it, err := t.read(ctx, key)
	return it.Value, err
}

// GetItem returns the item at key, or [ErrNotFound]. It sees the transaction's own
// writes, which have no version yet.
func (t *Txn) GetItem(ctx context.Context, key []byte) (Item, error) {
	it, err := t.read(ctx, key)
	if err != nil {
		return Item{}, err
	}
	it.Key = bytes.Clone(key)
	return it, nil
}

// GetMany returns the items that exist among keys, as [Store.GetMany] does. It sees the
// transaction's own writes, which have no version yet.
func (t *Txn) GetMany(ctx context.Context, keys [][]byte) ([]Item, error) {
	if t.done {
		return nil, ErrTxnDone
	}
	var others [][]byte
	for _, key := range keys {
		if _, known := t.own.get(key); !known {
			others = append(others, key)
		}
	}
	var found []Item
	if len(others) > 0 {
		var err error
		if found, err = t.s.GetMany(ctx, others); err != nil {
			return nil, err
		}
	}
	var all []Item
	for _, key := range keys {
		if p, known := t.own.get(key); known {
			if p.present {
				all = append(all, p.item(bytes.Clone(key)))
			}
			continue
		}
		if len(found) == 0 || !bytes.Equal(found[0].Key, key) {
			t.sawKey(key, Item{}, false)
			continue
		}
		t.sawKey(key, found[0], true)
		all, found = append(all, found[0]), found[1:]
	}
	return all, nil
}

// read returns the item at key, without its key. What others wrote becomes a check.
func (t *Txn) read(ctx context.Context, key []byte) (Item, error) {
	if t.done {
		return Item{}, ErrTxnDone
	}
	if p, known := t.own.get(key); known {
		if !p.present {
			return Item{}, ErrNotFound
		}
		return p.item(nil), nil
	}
	it, err := t.s.b.Get(ctx, key)
	if err == nil || errors.Is(err, ErrNotFound) {
		t.sawKey(key, it, err == nil)
	}
	return it, err
}

// sawKey makes a check of a read of a key. A later read that differs becomes
// another: no state passes both, and the first alone might hold again by then,
// as when a key was absent, present and absent again.
func (t *Txn) sawKey(key []byte, it Item, present bool) {
	if t.level != Serializable {
		return
	}
	check := Absent(key)
	if present {
		check = ifUnchanged(it).on(key)
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

// Set writes value at key without an expiry. It is the short form of [Txn.Put].
func (t *Txn) Set(_ context.Context, key, value []byte) error {
	return t.put(key, value, expiry{}, nil)
}

// Put writes value at key as opts say; a TTL is counted from the commit. The returned
// version is 0, because all writes get the version of Commit. Conditions on a key that
// this transaction has written are tested at once: if one fails, Put returns
// [ErrConflict], changes nothing and leaves the transaction usable. Conditions on other
// keys are tested at the commit.
func (t *Txn) Put(_ context.Context, key, value []byte, opts ...PutOption) (version uint64, err error) {
	e, checks := gather(key, opts)
	return 0, t.put(key, value, e, checks)
}

// Delete removes key. It is the short form of [Txn.Remove].
func (t *Txn) Delete(_ context.Context, key []byte) error { return t.delete(key, nil) }

// Remove removes key if all conditions hold, which are tested as those of Put. The
// version is 0.
func (t *Txn) Remove(_ context.Context, key []byte, conditions ...Condition) (version uint64, err error) {
	return 0, t.delete(key, checks(key, conditions))
}

// Touch gives the item at key a new time to live, counted from the commit, and keeps its
// value, which must not change before the commit. An absent key is [ErrNotFound]. The
// version is 0.
func (t *Txn) Touch(ctx context.Context, key []byte, ttl time.Duration) (version uint64, err error) {
	return 0, t.touch(ctx, key, expiry{ttl: ttl, relative: true})
}

// TouchUntil sets the expiry of a key like Touch, to a time; the zero time means no expiry.
func (t *Txn) TouchUntil(ctx context.Context, key []byte, at time.Time) (version uint64, err error) {
	return 0, t.touch(ctx, key, expiry{at: at})
}

func (t *Txn) touch(ctx context.Context, key []byte, e expiry) error {
	if err := e.validate(); err != nil && !t.done {
		return err
	}
	it, err := t.read(ctx, key)
	if err != nil {
		return err
	}
	var same []Check
	if _, known := t.own.get(key); !known && t.level != Serializable { // which checks what it read
		same = []Check{ifUnchanged(it).on(key)}
	}
	return t.put(key, it.Value, e, same)
}

// ClearRange removes every key in [start, end), including those that others add before
// the commit. If end is nil, the range is unbounded. The version is 0.
func (t *Txn) ClearRange(_ context.Context, start, end []byte) (version uint64, err error) {
	if t.done {
		return 0, ErrTxnDone
	}
	start, end = bytes.Clone(start), bytes.Clone(end)
	if !EmptyRange(start, end) {
		t.log = append(t.log, logged{Op: DeleteRange(start, end)})
		t.own.deleteRange(start, end)
	}
	return 0, nil
}

func (t *Txn) put(key, value []byte, e expiry, checks []Check) error {
	if t.done {
		return ErrTxnDone
	}
	limits := t.s.b.Info().Limits
	if err := errors.Join(limits.CheckKey(key), limits.CheckValue(value)); err != nil {
		return AsError(err)
	}
	if err := e.validate(); err != nil {
		return err
	}
	if err := t.demand(key, checks); err != nil {
		return err
	}
	op := Put(bytes.Clone(key), append([]byte{}, value...))
	p := pending{value: op.Value, present: true}
	if e != (expiry{}) {
		p.expiresAt, _ = e.from(t.s.clock)
		p.present = !Expired(p.expiresAt, t.s.clock())
	}
	t.append(logged{Op: op, expiry: e}, p)
	return nil
}

func (t *Txn) delete(key []byte, checks []Check) error {
	if t.done {
		return ErrTxnDone
	}
	if err := t.s.b.Info().Limits.CheckKey(key); err != nil {
		return err
	}
	if err := t.demand(key, checks); err != nil {
		return err
	}
	t.append(logged{Op: Delete(bytes.Clone(key))}, pending{})
	return nil
}

func (t *Txn) append(l logged, p pending) {
	t.log = append(t.log, l)
	t.own.set(l.Key, p)
}

// demand judges checks of key by the transaction's own write of it, or else keeps them for
// the commit.
func (t *Txn) demand(key []byte, checks []Check) error {
	if len(checks) == 0 {
		return nil
	}
	p, known := t.own.get(key)
	for i := range checks {
		if known && !checks[i].holds(p) {
			return &Error{Code: Conflict, Msg: "conflict with an earlier write of the transaction"}
		}
	}
	if known {
		return nil
	}
	key = bytes.Clone(key)
	for _, c := range checks {
		c.Key, c.Value = key, bytes.Clone(c.Value)
		t.checks = append(t.checks, c)
	}
	return nil
}

// Commit applies all writes at once if every check holds, returns their version, and
// ends the transaction whatever the outcome. Unless its error is Unknown, an error means
// that nothing was applied. Without writes and checks it does nothing, and the version
// is 0.
func (t *Txn) Commit(ctx context.Context) (version uint64, err error) {
	if t.done {
		return 0, ErrTxnDone
	}
	t.done = true
	if err := ContextError(ctx); err != nil {
		return 0, err
	}
	w := WriteSet{Checks: append(t.checks, t.reads...)}
	now := t.s.clock()
	for _, l := range t.log {
		if l.expiry != (expiry{}) {
			l.ExpiresAt, _ = l.expiry.from(func() time.Time { return now }) // put has refused negative ones
		}
		w.Ops = append(w.Ops, l.Op)
	}
	if len(w.Ops) == 0 && len(w.Checks) == 0 {
		return 0, nil
	}
	return t.s.b.Apply(ctx, &w)
}

// Rollback ends the transaction and drops its writes. After the end it does nothing, so
// it may be deferred.
func (t *Txn) Rollback() {
	t.done = true
	t.log, t.own, t.checks, t.reads, t.first = nil, overlay{}, nil, nil, nil
}
