package storage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// ledger keeps what was applied, and fails on request.
type ledger struct {
	fail func(n int) error
	mu   sync.Mutex
	sets []string // of each write set, its keys
}

func (l *ledger) apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := storage.ContextError(ctx); err != nil {
		return 0, err
	}
	if l.fail != nil {
		if err := l.fail(len(l.sets)); err != nil {
			return 0, err
		}
	}
	var keys []string
	for _, o := range w.Ops {
		keys = append(keys, string(o.Key))
	}
	l.sets = append(l.sets, strings.Join(keys, ""))
	return 1, nil
}

func put(t *testing.T, w *storage.BatchWriter, keys string) {
	t.Helper()
	for _, k := range keys {
		must(t, w.Put(t.Context(), []byte(string(k)), []byte("v")))
	}
}

func (l *ledger) has(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.sets, want) {
		t.Errorf("applied %q, want %q", l.sets, want)
	}
}

func TestBatchWriterSplits(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      storage.BatchOptions
		limits storage.Limits
		keys   string
		want   []string
	}{
		{"nothing", storage.BatchOptions{}, storage.Limits{}, "", nil},
		{"by ops", storage.BatchOptions{MaxOps: 3}, storage.Limits{}, "abcdefgh", []string{"abc", "def", "gh"}},
		{"by bytes", storage.BatchOptions{MaxBytes: 5}, storage.Limits{}, "abcde", []string{"ab", "cd", "e"}},
		{"exactly the bytes", storage.BatchOptions{MaxBytes: 4}, storage.Limits{}, "abcd", []string{"ab", "cd"}},
		{"one larger than all", storage.BatchOptions{MaxBytes: 1}, storage.Limits{}, "abc", []string{"a", "b", "c"}},
		{"the backend's limits", storage.BatchOptions{}, storage.Limits{Ops: 2}, "abc", []string{"ab", "c"}},
		{"the same key twice, in order", storage.BatchOptions{MaxOps: 4}, storage.Limits{}, "abab", []string{"abab"}},
	} {
		l := &ledger{}
		w := storage.NewBatchWriter(l.apply, c.limits, c.o)
		put(t, w, c.keys)
		must(t, w.Flush(t.Context()))
		t.Run(c.name, func(t *testing.T) { l.has(t, c.want...) })
		if s := w.Stats(); s.Applied != int64(len(c.keys)) || s.Bytes != 2*s.Applied || s.Batches != int64(len(c.want)) || s.Pending != 0 {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

// A failure stops the writer: nothing after it overtakes it, and nothing is lost.
func TestBatchWriterStops(t *testing.T) {
	ctx, boom := t.Context(), errors.New("boom")
	var outcomes []string
	broken := true
	l := &ledger{fail: func(n int) error {
		if n == 1 && broken {
			return boom
		}
		return nil
	}}
	w := storage.NewBatchWriter(l.apply, storage.Limits{}, storage.BatchOptions{MaxOps: 2,
		Outcome: func(n int64, err error) { outcomes = append(outcomes, fmt.Sprint(n, err)) }})
	put(t, w, "abcd") // c and d fail, which the next call reports
	err := w.Put(ctx, []byte("e"), nil)
	var failed *storage.BatchError
	if !errors.As(err, &failed) || failed.First != 2 || failed.Last != 3 || !errors.Is(err, boom) {
		t.Fatalf("%v", err)
	}
	if err := w.Flush(ctx); !errors.Is(err, boom) {
		t.Errorf("a flush goes on over a failure: %v", err)
	}
	if p := w.Pending(); len(p) != 2 || string(p[0].Key) != "c" {
		t.Errorf("%d pending", len(p))
	}
	l.has(t, "ab")
	broken = false
	must(t, w.Retry(ctx))
	put(t, w, "e")
	must(t, w.Close(ctx))
	l.has(t, "ab", "cd", "e")
	if got := strings.Join(outcomes, ", "); got != "0 <nil>, 1 <nil>, 2 <nil>, 3 <nil>, 4 <nil>" {
		t.Errorf("outcomes: %s", got)
	}
	if err := w.Put(ctx, nil, nil); !errors.Is(err, storage.ErrShuttingDown) {
		t.Errorf("after Close: %v", err)
	}
}

func TestBatchWriterDiscards(t *testing.T) {
	l := &ledger{fail: func(int) error { return errors.New("boom") }}
	w := storage.NewBatchWriter(l.apply, storage.Limits{}, storage.BatchOptions{})
	put(t, w, "ab")
	if w.Flush(t.Context()) == nil {
		t.Fatal("no error")
	}
	w.Discard()
	l.fail = nil
	put(t, w, "c")
	must(t, w.Close(t.Context()))
	l.has(t, "c")
}

func TestBatchWriterContinues(t *testing.T) {
	var outcomes []string
	l := &ledger{}
	l.fail = func(n int) error {
		if n == 1 && len(outcomes) < 4 {
			return errors.New("boom")
		}
		return nil
	}
	w := storage.NewBatchWriter(l.apply, storage.Limits{}, storage.BatchOptions{MaxOps: 2, Continue: true,
		Outcome: func(n int64, err error) { outcomes = append(outcomes, fmt.Sprint(n, err)) }})
	put(t, w, "abcdef")
	l.has(t, "ab", "ef")
	if got := strings.Join(outcomes, ", "); got != "0 <nil>, 1 <nil>, 2 boom, 3 boom, 4 <nil>, 5 <nil>" {
		t.Errorf("outcomes: %s", got)
	}
	if s := w.Stats(); s.Added != 6 || s.Applied != 4 || s.Failed != 2 || s.Batches != 3 {
		t.Errorf("%+v", s)
	}
}

// One op beyond a limit is refused and stops nothing.
func TestBatchWriterRefuses(t *testing.T) {
	l := &ledger{}
	w := storage.NewBatchWriter(l.apply, storage.Limits{Key: 1, Value: 1}, storage.BatchOptions{})
	for _, op := range []storage.Op{storage.Put([]byte("kk"), nil), storage.Put([]byte("k"), []byte("vv"))} {
		if err := w.Add(t.Context(), op); !errors.Is(err, storage.ErrSizeLimit) {
			t.Errorf("%v", err)
		}
	}
	put(t, w, "a")
	must(t, w.Flush(t.Context()))
	l.has(t, "a")
}

// A flush that its caller leaves keeps what was not sent, and sends nothing twice.
func TestBatchWriterCanceled(t *testing.T) {
	l := &ledger{}
	w := storage.NewBatchWriter(l.apply, storage.Limits{}, storage.BatchOptions{})
	put(t, w, "ab")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Flush(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	must(t, w.Flush(t.Context()))
	must(t, w.Flush(t.Context()))
	l.has(t, "ab")
}

// An unknown outcome is never repeated by itself.
func TestBatchWriterUnknown(t *testing.T) {
	l := &ledger{}
	l.fail = func(int) error { return &storage.Error{Code: storage.OutcomeUnknown, Unknown: true} }
	w := storage.NewBatchWriter(l.apply, storage.Limits{}, storage.BatchOptions{MaxAge: time.Hour})
	put(t, w, "a")
	for range 2 {
		if err := w.Flush(t.Context()); !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Errorf("%v", err)
		}
	}
	if n := w.Stats().Batches; n != 1 {
		t.Errorf("sent %d times", n)
	}
}

func TestBatchWriterFlushesByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{}
		w := storage.NewBatchWriter(l.apply, storage.Limits{}, storage.BatchOptions{MaxAge: time.Second})
		put(t, w, "a")
		time.Sleep(900 * time.Millisecond)
		put(t, w, "b")
		synctest.Wait()
		l.has(t)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		l.has(t, "ab")
		put(t, w, "c")
		must(t, w.Close(t.Context()))
		time.Sleep(2 * time.Second)
		l.has(t, "ab", "c")
	})
}

// What a caller who had left could not send does not grow beyond the limit.
func TestBatchWriterAfterALeftCall(t *testing.T) {
	l := &ledger{}
	w := storage.NewBatchWriter(l.apply, storage.Limits{Ops: 2}, storage.BatchOptions{})
	left, leave := context.WithCancel(t.Context())
	put(t, w, "a")
	leave()
	for w.Stats().Added < 2 { // the end of a context and a free writer are chosen from at random
		_ = w.Put(left, []byte("b"), nil)
	}
	l.has(t)
	put(t, w, "cd")
	must(t, w.Flush(t.Context()))
	l.has(t, "ab", "cd")
}

// If failures do not stop the writer, Flush reports the first one since the last Flush.
func TestBatchWriterContinueTells(t *testing.T) {
	l := &ledger{fail: func(n int) error {
		if n == 1 {
			return storage.ErrNoSpace
		}
		return nil
	}}
	w := storage.NewBatchWriter(func(ctx context.Context, set *storage.WriteSet) (uint64, error) {
		v, err := l.apply(ctx, set)
		if err != nil {
			l.sets = append(l.sets, "-")
		}
		return v, err
	}, storage.Limits{}, storage.BatchOptions{MaxOps: 1, Continue: true})
	put(t, w, "abc")
	var failed *storage.BatchError
	if err := w.Flush(t.Context()); !errors.As(err, &failed) || failed.First != 1 || !errors.Is(err, storage.ErrNoSpace) {
		t.Errorf("%v", err)
	}
	must(t, w.Flush(t.Context()))
	l.has(t, "a", "-", "c")
}

// A caller who leaves while a write set is being applied, and is told that it was
// not, loses nothing, whether failures stop the writer or not.
func TestBatchWriterLeftWhileSending(t *testing.T) {
	for _, goOn := range []bool{false, true} {
		var outcomes []string
		l := &ledger{}
		own, leave := context.WithCancel(t.Context())
		w := storage.NewBatchWriter(func(ctx context.Context, set *storage.WriteSet) (uint64, error) {
			if ctx == own {
				leave()
				return 0, storage.ContextError(ctx)
			}
			return l.apply(ctx, set)
		}, storage.Limits{}, storage.BatchOptions{Continue: goOn, Outcome: func(n int64, err error) { outcomes = append(outcomes, fmt.Sprint(n, err)) }})
		put(t, w, "ab")
		if err := w.Flush(own); !errors.Is(err, context.Canceled) {
			t.Errorf("continue %v: %v", goOn, err)
		}
		if s := w.Stats(); s.Pending != 2 || s.Failed != 0 || len(outcomes) != 0 {
			t.Errorf("continue %v: %+v, outcomes %q", goOn, s, outcomes)
		}
		must(t, w.Flush(t.Context()))
		l.has(t, "ab")
		if got := strings.Join(outcomes, ", "); got != "0 <nil>, 1 <nil>" {
			t.Errorf("continue %v: outcomes %s", goOn, got)
		}
	}
}

// A Retry that its caller leaves has sent nothing: the writer stays stopped, and what
// may have been applied is not sent again by a mere Flush.
func TestBatchWriterRetryThatIsLeft(t *testing.T) {
	l := &ledger{fail: func(int) error { return &storage.Error{Code: storage.OutcomeUnknown, Unknown: true} }}
	w := storage.NewBatchWriter(l.apply, storage.Limits{}, storage.BatchOptions{})
	put(t, w, "a")
	if err := w.Flush(t.Context()); !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	l.fail = nil
	left, leave := context.WithCancel(t.Context())
	leave()
	for range 20 { // the end of a context and a free writer are chosen from at random
		if err := w.Retry(left); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := w.Flush(t.Context()); !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Fatalf("a Flush after it: %v", err)
		}
	}
	l.has(t)
	must(t, w.Retry(t.Context()))
	l.has(t, "a")
}

// What a left call could not send is sent by time all the same.
func TestBatchWriterFlushesByTimeWhatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own, leave := context.WithCancel(t.Context())
		l := &ledger{}
		w := storage.NewBatchWriter(func(ctx context.Context, set *storage.WriteSet) (uint64, error) {
			if ctx == own {
				leave()
			}
			return l.apply(ctx, set)
		}, storage.Limits{}, storage.BatchOptions{MaxAge: time.Second})
		put(t, w, "a")
		for range 20 { // while it is sent, and then before
			if err := w.Flush(own); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		l.has(t)
		time.Sleep(time.Second)
		synctest.Wait()
		l.has(t, "a")

		w = storage.NewBatchWriter(l.apply, storage.Limits{}, storage.BatchOptions{MaxAge: time.Second, MaxOps: 1})
		for w.Stats().Added == 0 { // the end of a context and a free writer are chosen from at random
			_ = w.Put(own, []byte("b"), nil)
		}
		l.has(t, "a")
		time.Sleep(time.Second)
		synctest.Wait()
		l.has(t, "a", "b")
	})
}
