package timeout_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/timeout"
)

func TestTimeout(t *testing.T) {
	c := timeout.DefaultConfig()
	c.Scan, c.Changes, c.Apply = time.Minute, 3*time.Second, 2*time.Second
	key := []byte("k")
	hang := storagetest.Fault{Hold: make(chan struct{})}
	late := storagetest.Fault{Hold: make(chan struct{}), Late: true}
	for _, tc := range []struct {
		name    string
		fault   storagetest.Fault
		caller  time.Duration // the caller's own deadline; 0 means none
		call    func(context.Context, storage.Backend) error
		after   time.Duration
		unknown bool
		ours    bool
	}{
		{"get", hang, 0, func(ctx context.Context, b storage.Backend) error { _, err := b.Get(ctx, key); return err }, 5 * time.Second, false, true},
		{"get_many", hang, 0, func(ctx context.Context, b storage.Backend) error {
			_, err := b.GetMany(ctx, [][]byte{key})
			return err
		}, 5 * time.Second, false, true},
		{"scan", hang, 0, func(ctx context.Context, b storage.Backend) error {
			_, err := b.Scan(ctx, storage.Query{})
			return err
		}, time.Minute, false, true},
		{"changes", hang, 0, func(ctx context.Context, b storage.Backend) error {
			_, err := b.Changes(ctx, storage.ChangeQuery{})
			return err
		}, 3 * time.Second, false, true},
		{"changes, after their wait", hang, 0, func(ctx context.Context, b storage.Backend) error {
			_, err := b.Changes(ctx, storage.ChangeQuery{Wait: time.Minute})
			return err
		}, time.Minute + 3*time.Second, false, true},
		{"changes, after a wait without end", hang, 0, func(ctx context.Context, b storage.Backend) error {
			_, err := b.Changes(ctx, storage.ChangeQuery{Wait: 1 << 62})
			return err
		}, storage.MostWait + 3*time.Second, false, true},
		{"apply that was not begun", hang, 0, apply, 2 * time.Second, false, true},
		{"apply that was done", late, 0, apply, 2 * time.Second, true, true},
		{"health", hang, 0, func(ctx context.Context, b storage.Backend) error {
			_, err := b.Health(ctx, storage.Readiness)
			return err
		}, 5 * time.Second, false, true},
		{"the caller's is earlier", hang, time.Second, apply, time.Second, false, false},
		{"the caller's is later", hang, time.Hour, apply, 2 * time.Second, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := tc.fault
				f.Hold = make(chan struct{})
				b, err := timeout.New(storagetest.NewFaults(memory.New(memory.DefaultConfig(), sdk.Env{}), f), c, wrappers.Settings{Stage: "limit"})
				if err != nil {
					t.Fatal(err)
				}
				ctx := t.Context()
				if tc.caller > 0 {
					own, cancel := context.WithTimeout(ctx, tc.caller)
					defer cancel()
					ctx = own
				}
				start := time.Now()
				err = tc.call(ctx, b)
				e := storage.AsError(err)
				if took := time.Since(start); took != tc.after || e == nil || e.Unknown != tc.unknown || !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("after %s: %v", took, err)
				}
				if ours := e.Layer == "limit"; ours != tc.ours || tc.ours && !tc.unknown && e.Code != storage.Timeout {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

func apply(ctx context.Context, b storage.Backend) error {
	_, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), nil)}})
	return err
}

// An error that only arrives late is what it is.
func TestOtherErrors(t *testing.T) {
	b, err := timeout.New(storagetest.NewFaults(memory.New(memory.DefaultConfig(), sdk.Env{}), storagetest.Fault{Err: storage.ErrNoSpace}), timeout.DefaultConfig(), wrappers.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if err := apply(t.Context(), b); err != storage.ErrNoSpace {
		t.Errorf("%v", err)
	}
}

// silent does not know what came of a write when its context ends.
type silent struct{ storage.Backend }

func (silent) Apply(ctx context.Context, _ *storage.WriteSet) (uint64, error) {
	<-ctx.Done()
	return 0, storage.Errorf(storage.OutcomeUnknown, "no answer: %w", ctx.Err())
}

// A write that was cut off, and of which the backend does not know what came, is one
// of unknown outcome and not merely late.
func TestUnknownStaysUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := timeout.New(silent{}, timeout.DefaultConfig(), wrappers.Settings{Stage: "limit"})
		if err != nil {
			t.Fatal(err)
		}
		err = apply(t.Context(), b)
		if e := storage.AsError(err); e.Code != storage.OutcomeUnknown || !e.Unknown || e.Layer != "limit" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// Each kind of call has its own time, or else that of all.
func TestEveryCallHasItsTime(t *testing.T) {
	key := []byte("k")
	calls := map[string]func(context.Context, storage.Backend) error{
		"get": func(ctx context.Context, b storage.Backend) error { _, err := b.Get(ctx, key); return err },
		"get_many": func(ctx context.Context, b storage.Backend) error {
			_, err := b.GetMany(ctx, [][]byte{key})
			return err
		},
		"scan":  func(ctx context.Context, b storage.Backend) error { _, err := b.Scan(ctx, storage.Query{}); return err },
		"apply": apply,
		"health": func(ctx context.Context, b storage.Backend) error {
			_, err := b.Health(ctx, storage.Readiness)
			return err
		},
	}
	own := timeout.Config{Timeout: 9 * time.Second, Get: time.Second, GetMany: 2 * time.Second, Scan: 3 * time.Second, Apply: 4 * time.Second, Health: 5 * time.Second}
	for call, after := range map[string]time.Duration{"get": own.Get, "get_many": own.GetMany, "scan": own.Scan, "apply": own.Apply, "health": own.Health} {
		for config, want := range map[timeout.Config]time.Duration{own: after, {Timeout: own.Timeout}: own.Timeout} {
			synctest.Test(t, func(t *testing.T) {
				hang := storagetest.Fault{Hold: make(chan struct{})}
				b, err := timeout.New(storagetest.NewFaults(memory.New(memory.DefaultConfig(), sdk.Env{}), hang), config, wrappers.Settings{})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				err = calls[call](t.Context(), b)
				if took := time.Since(start); took != want || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s ends after %s, want %s: %v", call, took, want, err)
				}
			})
		}
	}
}
