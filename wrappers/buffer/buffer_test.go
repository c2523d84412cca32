package buffer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers/buffer"
)

// unit is a buffer over a memory backend whose applies can be made to fail.
type unit struct {
	*storage.Store // of the buffer
	b              *buffer.Buffer
	below          *storage.Store
	faults         *storagetest.Faults
}

func newUnit(t *testing.T) unit {
	t.Helper()
	m := memory.New(memory.DefaultConfig(), sdk.Env{})
	faults := storagetest.NewFaults(m)
	b := buffer.New(faults, nil)
	u := unit{storage.New(b, storage.Settings{}), b, storage.New(m, storage.Settings{}), faults}
	for _, k := range []string{"a", "b", "c"} {
		must(t, u.below.Set(t.Context(), []byte(k), []byte("below")))
	}
	return u
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// all is what a store holds, as "key=value" and in order.
func all(t *testing.T, s *storage.Store) string {
	t.Helper()
	var items []string
	for it, err := range s.Range(t.Context(), nil, nil, storage.RangeOptions{}) {
		must(t, err)
		items = append(items, fmt.Sprintf("%s=%s", it.Key, it.Value))
	}
	return strings.Join(items, " ")
}

func (u unit) commit(t *testing.T) {
	t.Helper()
	if _, err := u.b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What is written is seen above at once, below after the commit, and there as
// one write.
func TestCommit(t *testing.T) {
	ctx, u := t.Context(), newUnit(t)
	must(t, u.Set(ctx, []byte("b"), []byte("new")))
	must(t, errOf(u.ClearRange(ctx, []byte("c"), nil)))
	must(t, u.Set(ctx, []byte("d"), []byte("new")))
	must(t, u.Delete(ctx, []byte("a")))
	if got := all(t, u.Store); got != "b=new d=new" {
		t.Errorf("above: %s", got)
	}
	if got := all(t, u.below); got != "a=below b=below c=below" {
		t.Errorf("below: %s", got)
	}
	u.commit(t)
	for name, s := range map[string]*storage.Store{"above": u.Store, "below": u.below} {
		if got := all(t, s); got != "b=new d=new" {
			t.Errorf("%s after the commit: %s", name, got)
		}
	}
	if n := u.faults.Made(storagetest.CallApply); n != 1 || u.b.Pending() != 0 {
		t.Errorf("%d applies, %d pending", n, u.b.Pending())
	}
	u.commit(t) // of nothing
	if n := u.faults.Made(storagetest.CallApply); n != 1 {
		t.Errorf("%d applies", n)
	}
}

// A condition is judged against what is buffered; on what is not, it is judged
// now and at the commit.
func TestConditions(t *testing.T) {
	ctx, u := t.Context(), newUnit(t)
	must(t, u.Set(ctx, []byte("new"), []byte("1")))
	must(t, errOf(u.Put(ctx, []byte("new"), []byte("2"), storage.IfValue([]byte("1")))))
	if _, err := u.Put(ctx, []byte("new"), nil, storage.IfAbsent()); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("against the buffer: %v", err)
	}
	if _, err := u.Put(ctx, []byte("a"), nil, storage.IfAbsent()); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("against what is below: %v", err)
	}
	must(t, errOf(u.Put(ctx, []byte("a"), []byte("mine"), storage.IfValue([]byte("below")))))
	must(t, u.below.Set(ctx, []byte("a"), []byte("theirs")))
	if _, err := u.b.Commit(ctx); !errors.Is(err, storage.ErrConflict) {
		t.Fatalf("another has written what a condition is about: %v", err)
	}
	// Nothing is lost or stuck: it can be read, and dropped.
	if got := all(t, u.Store); got != "a=mine b=below c=below new=2" {
		t.Errorf("after the conflict: %s", got)
	}
	must(t, u.b.Discard(ctx))
	if got := all(t, u.Store); got != "a=theirs b=below c=below" {
		t.Errorf("after Discard: %s", got)
	}
	must(t, u.Set(ctx, []byte("a"), []byte("again")))
	u.commit(t)
}

// A commit that fails can be made again, with what was written meanwhile.
func TestCommitAgain(t *testing.T) {
	ctx, u := t.Context(), newUnit(t)
	must(t, u.Set(ctx, []byte("x"), []byte("1")))
	must(t, u.Set(ctx, []byte("y"), []byte("1")))
	u.faults.Set(storagetest.Fault{Calls: []storagetest.Call{storagetest.CallApply}, Err: storage.ErrUnavailable, Times: 1})
	if _, err := u.b.Commit(ctx); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatal(err)
	}
	must(t, u.Set(ctx, []byte("x"), []byte("2")))
	must(t, errOf(u.ClearRange(ctx, []byte("y"), nil)))
	u.commit(t)
	if got := all(t, u.below); got != "a=below b=below c=below x=2" {
		t.Errorf("%s", got)
	}
}

// After an unknown outcome the next commit settles it, and applies nothing twice.
func TestUnknown(t *testing.T) {
	for _, applied := range []bool{false, true} {
		ctx, u := t.Context(), newUnit(t)
		must(t, u.Set(ctx, []byte("x"), []byte("1")))
		u.faults.Set(storagetest.Fault{Calls: []storagetest.Call{storagetest.CallApply}, Applied: applied, Times: 1,
			Err: &storage.Error{Code: storage.OutcomeUnknown, Unknown: true}})
		if _, err := u.b.Commit(ctx); !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
		if got := all(t, u.Store); got != "a=below b=below c=below x=1" {
			t.Errorf("above: %s", got)
		}
		if applied { // another goes on from what was applied
			must(t, u.below.Set(ctx, []byte("x"), []byte("theirs")))
		}
		must(t, u.Set(ctx, []byte("z"), []byte("2")))
		u.commit(t)
		want := "a=below b=below c=below x=1 z=2"
		if applied {
			want = "a=below b=below c=below x=theirs z=2"
		}
		if got := all(t, u.below); got != want {
			t.Errorf("applied %v: %s, want %s", applied, got, want)
		}
	}
}

// No call waits for a commit that is under way: what is being committed is read,
// and what is written comes with the next one.
func TestWhileCommitting(t *testing.T) {
	for _, fails := range []error{nil, storage.ErrUnavailable} {
		ctx, u := t.Context(), newUnit(t)
		must(t, u.Set(ctx, []byte("x"), []byte("1")))
		must(t, errOf(u.ClearRange(ctx, []byte("b"), []byte("c"))))
		hold := make(chan struct{})
		u.faults.Set(storagetest.Fault{Calls: []storagetest.Call{storagetest.CallApply}, Hold: hold, Err: fails, Times: 1})
		done := make(chan error)
		go func() { _, err := u.b.Commit(ctx); done <- err }()
		for u.faults.Made(storagetest.CallApply) == 0 {
			runtime.Gosched()
		}
		if got := all(t, u.Store); got != "a=below c=below x=1" {
			t.Errorf("%s", got)
		}
		must(t, u.Set(ctx, []byte("x"), []byte("2")))
		must(t, u.Set(ctx, []byte("b"), []byte("2")))
		if got := all(t, u.Store); got != "a=below b=2 c=below x=2" {
			t.Errorf("%s", got)
		}
		left, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := u.b.Commit(left); !errors.Is(err, context.Canceled) {
			t.Errorf("a second commit does not wait: %v", err)
		}
		close(hold)
		if err := <-done; !errors.Is(err, fails) {
			t.Error(err)
		}
		if got := all(t, u.Store); got != "a=below b=2 c=below x=2" {
			t.Errorf("%s", got)
		}
		u.commit(t)
		if got := all(t, u.below); got != "a=below b=2 c=below x=2" {
			t.Errorf("below: %s", got)
		}
	}
}

// A buffer takes no more than one commit can carry.
func TestLimits(t *testing.T) {
	ctx, u := t.Context(), newUnit(t)
	limit := u.Info().Limits.Ops
	for i := range limit {
		must(t, u.Set(ctx, fmt.Appendf(nil, "key%d", i), nil))
	}
	must(t, u.Set(ctx, []byte("key0"), []byte("once more"))) // which is no op more
	err := u.Set(ctx, []byte("one too many"), nil)
	if e := storage.AsError(err); e.Code != storage.SizeLimit || e.Limit.Max != int64(limit) {
		t.Errorf("%v", err)
	}
	u.commit(t)
	must(t, u.Set(ctx, []byte("one too many"), nil))
	if n := u.b.Pending(); n != 1 {
		t.Errorf("%d pending", n)
	}
}

func TestClose(t *testing.T) {
	ctx, u := t.Context(), newUnit(t)
	must(t, u.Set(ctx, []byte("x"), nil))
	must(t, u.b.Close(ctx))
	must(t, u.b.Close(ctx))
	if err := u.Set(ctx, []byte("x"), nil); !errors.Is(err, storage.ErrShuttingDown) {
		t.Errorf("%v", err)
	}
	if got := all(t, u.below); got != "a=below b=below c=below" {
		t.Errorf("what was not committed is there: %s", got)
	}
}

// during does something while a read is under way below.
type during struct {
	storage.Backend
	do func()
}

func (d *during) once() {
	if do := d.do; do != nil {
		d.do = nil
		do()
	}
}

func (d *during) Get(ctx context.Context, key []byte) (storage.Item, error) {
	defer d.once()
	return d.Backend.Get(ctx, key)
}

func (d *during) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	d.once()
	return d.Backend.GetMany(ctx, keys)
}

func (d *during) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	d.once()
	return d.Backend.Scan(ctx, q)
}

// A commit that comes while a read is under way below does not tear it: it sees
// one state.
func TestReadsDuringACommit(t *testing.T) {
	for name, read := range map[string]func(*storage.Store) []storage.Item{
		"get_many": func(s *storage.Store) []storage.Item {
			items, err := s.GetMany(t.Context(), [][]byte{[]byte("a"), []byte("b")})
			must(t, err)
			return items
		},
		"scan": func(s *storage.Store) (items []storage.Item) {
			for it, err := range s.Range(t.Context(), nil, nil, storage.RangeOptions{}) {
				must(t, err)
				items = append(items, it)
			}
			return items
		},
	} {
		d := &during{Backend: memory.New(memory.DefaultConfig(), sdk.Env{})}
		b := buffer.New(d, nil)
		s := storage.New(b, storage.Settings{})
		both := func(value string) {
			must(t, errOf(s.UpdateIn(t.Context(), storage.ReadCommitted, func(tx *storage.Txn) error {
				return errors.Join(tx.Set(t.Context(), []byte("a"), []byte(value)), tx.Set(t.Context(), []byte("b"), []byte(value)))
			})))
		}
		both("1")
		if _, err := b.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		must(t, s.Set(t.Context(), []byte("a"), []byte("mine")))
		d.do = func() {
			both("2")
			if _, err := b.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		items := read(s)
		if len(items) != 2 || string(items[1].Value) == "2" != (string(items[0].Value) == "2") {
			t.Errorf("%s: %q", name, []any{items})
		}
	}
}

// A condition that was read before a commit is read again after it.
func TestConditionsDuringACommit(t *testing.T) {
	d := &during{Backend: memory.New(memory.DefaultConfig(), sdk.Env{})}
	b := buffer.New(d, nil)
	s := storage.New(b, storage.Settings{})
	d.do = func() {
		must(t, s.Set(t.Context(), []byte("k"), []byte("theirs")))
		if _, err := b.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(t.Context(), []byte("k"), []byte("mine"), storage.IfAbsent()); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("%v", err)
	}
}

// What is written during a commit that then fails, and would make it too large,
// comes with the next write set.
func TestFailedCommitIsNotTooLarge(t *testing.T) {
	m := memory.New(memory.DefaultConfig(), sdk.Env{})
	faults := storagetest.NewFaults(m, storagetest.Fault{Calls: []storagetest.Call{storagetest.CallApply}, Times: 1, Err: storage.ErrUnavailable})
	var b *buffer.Buffer
	full := make([]byte, m.Info().Limits.WriteBytes/2)
	below := &applying{Backend: faults, do: func() {
		must(t, storage.New(b, storage.Settings{}).Set(t.Context(), []byte("late"), full))
	}}
	b = buffer.New(below, nil)
	must(t, storage.New(b, storage.Settings{}).Set(t.Context(), []byte("early"), full))
	if _, err := b.Commit(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatal(err)
	}
	if _, err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := storage.New(m, storage.Settings{})
	for _, key := range []string{"early", "late"} {
		if _, err := s.Get(t.Context(), []byte(key)); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// applying does something during the first apply.
type applying struct {
	storage.Backend
	do func()
}

func (a *applying) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if do := a.do; do != nil {
		a.do = nil
		do()
	}
	return a.Backend.Apply(ctx, w)
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
