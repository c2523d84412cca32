package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/retry"
)

// plain hides that memory remembers IDs.
type plain struct{ storage.Backend }

func (p plain) Info() storage.Info {
	i := p.Backend.Info()
	i.Caps &^= storage.CapIdempotent
	return i
}

func over(t *testing.T, below storage.Backend, c retry.Config, f ...storagetest.Fault) (*storage.Store, *storagetest.Faults) {
	t.Helper()
	faults := storagetest.NewFaults(below, f...)
	b, err := retry.New(faults, c, wrappers.Settings{Stage: "retry"})
	if err != nil {
		t.Fatal(err)
	}
	return storage.New(b, storage.Settings{}), faults
}

func newMemory() storage.Backend { return memory.New(memory.DefaultConfig(), sdk.Env{}) }

var unknown = &storage.Error{Code: storage.OutcomeUnknown, Unknown: true}

// What is made again, and how often.
func TestWhatIsRepeated(t *testing.T) {
	get := func(ctx context.Context, s *storage.Store) error {
		_, err := s.Get(ctx, []byte("absent"))
		if errors.Is(err, storage.ErrNotFound) {
			err = nil
		}
		return err
	}
	many := func(ctx context.Context, s *storage.Store) error {
		_, err := s.GetMany(ctx, [][]byte{[]byte("absent")})
		return err
	}
	scan := func(ctx context.Context, s *storage.Store) error {
		for _, err := range s.Range(ctx, nil, nil, storage.RangeOptions{}) {
			return err
		}
		return nil
	}
	set := func(ctx context.Context, s *storage.Store) error { return s.Set(ctx, []byte("k"), nil) }
	for _, c := range []struct {
		name  string
		call  func(context.Context, *storage.Store) error
		kind  storagetest.Call
		err   error
		plain bool
		made  int
		code  storage.Code
	}{
		{"get, unavailable twice", get, storagetest.CallGet, storage.ErrUnavailable, false, 3, storage.OK},
		{"get_many", many, storagetest.CallGetMany, storage.ErrTimeout, false, 3, storage.OK},
		{"scan", scan, storagetest.CallScan, storage.ErrRateLimited, false, 3, storage.OK},
		{"a read that cannot succeed", get, storagetest.CallGet, storage.ErrSizeLimit, false, 1, storage.SizeLimit},
		{"an open circuit", get, storagetest.CallGet, storage.ErrCircuitOpen, false, 1, storage.CircuitOpen},
		{"a write that was not applied", set, storagetest.CallApply, storage.ErrUnavailable, true, 3, storage.OK},
		{"a conflict", set, storagetest.CallApply, storage.ErrConflict, false, 1, storage.Conflict},
		{"unknown, not idempotent", set, storagetest.CallApply, unknown, true, 1, storage.OutcomeUnknown},
		{"unknown, idempotent", set, storagetest.CallApply, unknown, false, 3, storage.OK},
		{"a timeout that may have been applied", set, storagetest.CallApply, &storage.Error{Code: storage.Timeout, Unknown: true}, true, 1, storage.Timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				below := newMemory()
				if c.plain {
					below = plain{below}
				}
				s, faults := over(t, below, retry.DefaultConfig(), storagetest.Fault{Err: c.err, Times: 2})
				err := c.call(t.Context(), s)
				if storage.CodeOf(err) != c.code || faults.Made(c.kind) != c.made {
					t.Errorf("%v after %d attempts, want %s after %d", err, faults.Made(c.kind), c.code, c.made)
				}
			})
		})
	}
}

// A write whose answers are lost is applied once, whatever happens between.
func TestAppliedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		below := newMemory()
		s, faults := over(t, below, retry.DefaultConfig(), storagetest.Fault{Calls: []storagetest.Call{storagetest.CallApply}, Err: unknown, Applied: true, Times: 3})
		if err := s.Set(ctx, []byte("k"), []byte("v")); err != nil {
			t.Fatal(err)
		}
		it, err := below.Get(ctx, []byte("k"))
		if err != nil || faults.Made(storagetest.CallApply) != 4 {
			t.Fatalf("%v after %d attempts", err, faults.Made(storagetest.CallApply))
		}
		page, err := below.Scan(ctx, storage.Query{})
		if err != nil || page.Version != it.Version {
			t.Errorf("the store is at %d, the only write at %d: it was applied more than once", page.Version, it.Version)
		}
	})
}

// An unknown outcome stays unknown, however the last attempt failed, and is not
// taken for that: whoever runs a transaction again on conflicts would write twice.
func TestUnknownStays(t *testing.T) {
	for _, last := range []error{storage.ErrUnavailable, storage.ErrNoSpace, storage.ErrConflict} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := over(t, newMemory(), retry.DefaultConfig(), storagetest.Fault{Err: unknown, Times: 1}, storagetest.Fault{Err: last})
			err := s.Set(t.Context(), []byte("k"), nil)
			if e := storage.AsError(err); e.Code != storage.OutcomeUnknown || !e.Unknown || errors.Is(err, last) {
				t.Errorf("%v", err)
			}
		})
	}
}

// lossy loses its state some time after the first answer.
type lossy struct {
	storage.Backend
	after    time.Duration
	answered time.Time
}

func (l *lossy) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	l.answered = time.Now()
	return 0, &storage.Error{Code: storage.OutcomeUnknown, Unknown: true, RetryAfter: 2 * l.after}
}

func (l *lossy) Info() storage.Info {
	i := l.Backend.Info()
	if !l.answered.IsZero() && time.Since(l.answered) >= l.after {
		i.Incarnation[0]++
	}
	return i
}

// What has lost its state does not know IDs any more, also where that happens
// during the wait.
func TestLostState(t *testing.T) {
	for _, after := range []time.Duration{0, 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			s, faults := over(t, &lossy{Backend: newMemory(), after: after}, retry.DefaultConfig())
			if err := s.Set(t.Context(), []byte("k"), nil); !errors.Is(err, storage.ErrOutcomeUnknown) || faults.Made(storagetest.CallApply) != 1 {
				t.Errorf("%v after %d attempts", err, faults.Made(storagetest.CallApply))
			}
		})
	}
}

// The time that it takes: attempts, deadline, the caller's own, retry-after.
func TestTime(t *testing.T) {
	down := storagetest.Fault{Err: storage.ErrUnavailable}
	for _, c := range []struct {
		name        string
		change      func(*retry.Config)
		fault       storagetest.Fault
		caller      time.Duration
		least, most time.Duration
	}{
		{"attempts", func(c *retry.Config) { c.Attempts, c.Deadline = 3, 0 }, down, 0, 0, 150 * time.Millisecond},
		{"deadline", func(c *retry.Config) { c.Attempts = 1 << 20 }, down, 0, 8 * time.Second, 12 * time.Second},
		{"a short deadline", func(c *retry.Config) { c.Attempts, c.Deadline = 1<<20, 3*time.Second }, down, 0, time.Second, 3 * time.Second},
		{"the caller's", func(c *retry.Config) { c.Attempts = 1 << 20 }, down, time.Second, 0, time.Second},
		{"retry-after", func(c *retry.Config) { c.Attempts = 2 }, storagetest.Fault{Err: &storage.Error{Code: storage.RateLimited, RetryAfter: 3 * time.Second}}, 0, 3 * time.Second, 3 * time.Second},
		{"retry-after beyond the deadline", nil, storagetest.Fault{Err: &storage.Error{Code: storage.RateLimited, RetryAfter: time.Hour}}, 0, 0, 0},
		{"retry-after beyond the caller's", nil, storagetest.Fault{Err: &storage.Error{Code: storage.RateLimited, RetryAfter: 3 * time.Second}}, time.Second, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := retry.DefaultConfig()
				if c.change != nil {
					c.change(&config)
				}
				s, _ := over(t, newMemory(), config, c.fault)
				ctx := t.Context()
				if c.caller > 0 {
					own, cancel := context.WithTimeout(ctx, c.caller)
					defer cancel()
					ctx = own
				}
				start := time.Now()
				_, err := s.Get(ctx, []byte("k"))
				if took := time.Since(start); took < c.least || took > c.most || storage.CodeOf(err) != storage.CodeOf(c.fault.Err) {
					t.Errorf("%v after %s", err, took)
				}
			})
		})
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*retry.Config)
		want   string
	}{
		{func(c *retry.Config) { c.Attempts = 1 }, "attempts"},
		{func(c *retry.Config) { c.BaseDelay = 0 }, "base_delay"},
		{func(c *retry.Config) { c.MaxDelay = time.Millisecond }, "max_delay: 1ms is shorter than base_delay (50ms)"},
		{func(c *retry.Config) { c.Deadline = -1 }, "deadline"},
		{func(c *retry.Config) { c.Unknown = -1 }, "unknown"},
	} {
		config := retry.DefaultConfig()
		c.change(&config)
		if err := config.Validate(); !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// A read that succeeds costs nothing more.
func TestAllocations(t *testing.T) {
	s, _ := over(t, newMemory(), retry.DefaultConfig())
	ctx, key := t.Context(), []byte("absent")
	bare := testing.AllocsPerRun(100, func() { s.Backend().Get(ctx, key) })
	if bare > 1 {
		t.Errorf("%.0f allocations", bare)
	}
}

// forgetful remembers few IDs.
type forgetful struct {
	storage.Backend
	limits storage.Limits
}

func (f forgetful) Info() storage.Info {
	i := f.Backend.Info()
	i.Limits = f.limits
	return i
}

// No write is repeated that the backend may have forgotten.
func TestWindow(t *testing.T) {
	for _, c := range []struct {
		limits storage.Limits
		most   time.Duration
	}{
		{storage.Limits{}, time.Second},
		{storage.Limits{IDCount: 1 << 20}, time.Second},
		{storage.Limits{IDCount: 5000}, 100 * time.Millisecond},
		{storage.Limits{IDWindow: time.Hour}, time.Second},
		{storage.Limits{IDWindow: 400 * time.Millisecond}, 200 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			config := retry.DefaultConfig()
			config.Attempts, config.MaxDelay = 1<<20, config.BaseDelay
			s, _ := over(t, forgetful{newMemory(), c.limits}, config, storagetest.Fault{Err: unknown})
			start := time.Now()
			if err := s.Set(t.Context(), []byte("k"), nil); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Errorf("%v", err)
			}
			if took := time.Since(start); took > c.most+config.BaseDelay || took < c.most/2 {
				t.Errorf("%+v: repeated for %s, want %s", c.limits, took, c.most)
			}
		})
	}
}

// begun notes when each write begins.
type begun struct {
	storage.Backend
	at []time.Time
}

func (b *begun) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	b.at = append(b.at, time.Now())
	return b.Backend.Apply(ctx, w)
}

// However long the wait before an attempt is, none begins when the time for it is
// over: the backend may have forgotten the ID of the first by then.
func TestNoneBeginsTooLate(t *testing.T) {
	wait := &storage.Error{Code: storage.OutcomeUnknown, Unknown: true, RetryAfter: 3 * time.Second}
	for _, c := range []struct {
		name   string
		change func(*retry.Config)
		err    error
		most   time.Duration // after the first
		code   storage.Code
	}{
		{"the ID, long waits", func(c *retry.Config) { c.BaseDelay, c.MaxDelay = time.Minute, time.Minute; c.Deadline = 0 }, unknown, time.Second, storage.OutcomeUnknown},
		{"the ID, for less", func(c *retry.Config) { c.Attempts, c.Unknown = 1<<20, 100*time.Millisecond }, unknown, 100 * time.Millisecond, storage.OutcomeUnknown},
		{"the ID, told to wait", nil, wait, time.Second, storage.OutcomeUnknown},
		{"the deadline, long waits", func(c *retry.Config) { c.BaseDelay, c.MaxDelay = time.Minute, time.Minute }, storage.ErrUnavailable, 10 * time.Second, storage.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 20 { // waits are drawn
					config := retry.DefaultConfig()
					if c.change != nil {
						c.change(&config)
					}
					below := &begun{Backend: storagetest.NewFaults(newMemory(), storagetest.Fault{Err: c.err})}
					s, _ := over(t, below, config)
					if err := s.Set(t.Context(), []byte("k"), nil); storage.CodeOf(err) != c.code {
						t.Errorf("%v, want %s", err, c.code)
					}
					if last := below.at[len(below.at)-1].Sub(below.at[0]); last >= c.most {
						t.Errorf("attempt %d begins %s after the first, want none after %s", len(below.at), last, c.most)
					}
				}
			})
		})
	}
}

// A backend that wants to be left alone for longer than there is time for is not
// waited for, however long that is.
func TestEndlessRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := over(t, newMemory(), retry.DefaultConfig(),
			storagetest.Fault{Calls: []storagetest.Call{storagetest.CallGet}, Times: 1, Err: storage.ErrUnavailable},
			storagetest.Fault{Calls: []storagetest.Call{storagetest.CallGet}, After: 1, Err: &storage.Error{Code: storage.Unavailable, RetryAfter: math.MaxInt64}})
		start := time.Now()
		_, err := s.Get(t.Context(), []byte("k"))
		if took := time.Since(start); !errors.Is(err, storage.ErrUnavailable) || took > time.Second {
			t.Errorf("%v after %s", err, took)
		}
	})
}
