package batch_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// One of unknown outcome is unknown for all, and is not repeated.
func TestUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nil)
		s.refuse = func(keys string) error {
			if keys == "bc" {
				return &storage.Error{Code: storage.OutcomeUnknown, Unknown: true}
			}
			return nil
		}
		s.set("a")
		for _, k := range []string{"b", "c"} {
			s.begin(func(err error) {
				if !errors.Is(err, storage.ErrOutcomeUnknown) {
					t.Errorf("%s: %v", k, err)
				}
			}, func() error { return s.store.Set(t.Context(), []byte(k), nil) })
		}
		s.calls.Wait()
		s.got(t, "a", "bc")
	})
}

// A caller who leaves before the write is sent has written nothing; one who
// leaves later does not know, and does not disturb the others.
func TestCallersWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nil)
		early, leaveEarly := context.WithCancel(t.Context())
		late, leaveLate := context.WithCancel(t.Context())
		defer leaveEarly()
		defer leaveLate()
		s.set("a")
		s.begin(func(err error) {
			if e := storage.AsError(err); e.Code != storage.Canceled || e.Unknown || !errors.Is(err, context.Canceled) {
				t.Errorf("early: %v", err)
			}
		}, func() error { return s.store.Set(early, []byte("b"), nil) })
		value := []byte("late")
		s.begin(func(err error) {
			if e := storage.AsError(err); e.Code != storage.OutcomeUnknown || !e.Unknown || !errors.Is(err, context.Canceled) {
				t.Errorf("late: %v", err)
			}
			value[0] = 'X' // it is the caller's again
		}, func() error { return s.store.Set(late, []byte("c"), value) })
		s.set("d")
		leaveEarly()
		time.Sleep(1500 * time.Millisecond) // c and d are under way
		leaveLate()
		s.calls.Wait()
		time.Sleep(time.Second)
		s.got(t, "a", "cd")
		if _, err := s.store.Get(t.Context(), []byte("b")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("what was left before it was sent is there: %v", err)
		}
		if v, err := s.store.Get(t.Context(), []byte("c")); string(v) != "late" {
			t.Errorf("%q, %v", v, err)
		}
	})
}

// When all callers of a write have left, so does the write.
func TestAllLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nil)
		s.set("a")
		ctx, leave := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer leave()
		for _, k := range []string{"b", "c"} {
			s.begin(func(err error) {
				if err == nil {
					t.Errorf("%s: no error", k)
				}
			}, func() error { return s.store.Set(ctx, []byte(k), nil) })
		}
		s.calls.Wait()
		synctest.Wait()
		if _, err := s.store.Get(t.Context(), []byte("b")); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%v", err)
		}
		if err := s.b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Close sends what waits, and refuses what comes.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nil)
		s.set("a", "b", "c", "b")
		s.begin(nil, func() error { return s.b.Close(t.Context()) })
		if err := s.store.Set(t.Context(), []byte("d"), nil); !errors.Is(err, storage.ErrShuttingDown) {
			t.Errorf("%v", err)
		}
		if err := s.b.Close(t.Context()); err != nil { // waits as well
			t.Error(err)
		}
		s.got(t, "a", "bc", "b")
		s.calls.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.b.Close(ended); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// A panic below ends the writes that it took along, and nothing else.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, nil)
		s.refuse = func(keys string) error {
			if keys == "bc" {
				panic("boom")
			}
			return nil
		}
		s.set("a")
		for _, k := range []string{"b", "c"} {
			s.begin(func(err error) {
				if e := storage.AsError(err); e.Code != storage.Internal || !e.Unknown || strings.Contains(err.Error(), "boom") {
					t.Errorf("%s: %v", k, err)
				}
			}, func() error { return s.store.Set(t.Context(), []byte(k), nil) })
		}
		s.calls.Wait()
		s.set("d")
		s.calls.Wait()
	})
}
