package supervise_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

var errCrash = errors.New("it crashed")

// A life goes through its states, each of which says whether calls are taken.
func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := supervise.New(supervise.Policy{}, time.Now, slog.New(slog.NewTextHandler(&log, nil)))
		expect := func(s supervise.State, code storage.Code) {
			t.Helper()
			var err error
			if e := l.Error(); e != nil {
				err = e
			}
			if got := l.Status().State; got != s || storage.CodeOf(err) != code || got.Serves() != (code == storage.OK) {
				t.Fatalf("it is %s, %v", got, err)
			}
		}
		expect(supervise.Starting, storage.Unavailable)
		l.SetDegraded("too early to say")
		expect(supervise.Starting, storage.Unavailable)
		l.Started()
		expect(supervise.Ready, storage.OK)
		l.SetDegraded("slow")
		expect(supervise.Degraded, storage.OK)
		if s := l.Status(); s.Reason != "slow" {
			t.Errorf("%+v", s)
		}
		l.SetDegraded("")
		expect(supervise.Ready, storage.OK)
		if again, at := l.Lost(errCrash, "good bye", true); !again || at.After(time.Now()) {
			t.Errorf("the first loss is made good: %v, at %v", again, at)
		}
		expect(supervise.Restarting, storage.Unavailable)
		if s := l.Status(); s.LastLoss != "it crashed" || s.Reason != "it crashed; its last output: good bye" {
			t.Errorf("%+v", s)
		}
		if !l.Error().Retryable() {
			t.Error("a call may not be tried again")
		}
		l.Started()
		if s := l.Status(); s.Restarts != 1 || s.Reason != "" {
			t.Errorf("%+v", s)
		}
		if again, _ := l.Lost(errCrash, "", false); again {
			t.Error("it is started although its state is lost")
		}
		expect(supervise.Failed, storage.Unavailable)
		l.Stop()
		expect(supervise.Stopped, storage.ShuttingDown)
		l.Started()
		expect(supervise.Stopped, storage.ShuttingDown)
		for _, want := range []string{"level=WARN msg=\"plugin state\" from=ready to=restarting", "level=INFO msg=\"plugin state\" from=restarting to=ready", "level=ERROR msg=\"plugin state\" from=ready to=failed"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%q is not in\n%s", want, log.String())
			}
		}
	})
}

// Pauses are random, and their bound doubles up to the most; a steady life begins
// anew, and the budget is for a window.
func TestPausesAndBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := supervise.New(supervise.Policy{Budget: -1, First: time.Second, Most: 8 * time.Second}, time.Now, slog.New(slog.DiscardHandler))
		seen := map[time.Duration]bool{}
		for range 20 {
			l.Started()
			for i, most := range []time.Duration{0, 1, 2, 4, 8, 8, 8} {
				_, at := l.Lost(errCrash, "", true)
				pause := time.Until(at)
				if pause < 0 || pause > most*time.Second+1 {
					t.Fatalf("loss %d waits %s, at most %ds", i+1, pause, most)
				}
				seen[pause] = true
				if l.Due() != (pause == 0) {
					t.Fatalf("due: %v, in %s", l.Due(), pause)
				}
				time.Sleep(pause)
				if !l.Due() {
					t.Fatal("it is not due when it is time")
				}
				if i < 6 {
					l.Started()
				}
			}
			l.Started()
			time.Sleep(2 * time.Minute) // a steady life
		}
		if len(seen) < 50 {
			t.Errorf("%d different pauses: they are not random", len(seen))
		}

		l = supervise.New(supervise.Policy{Budget: 2, Window: time.Minute, First: 1, Most: 1}, time.Now, slog.New(slog.DiscardHandler))
		for i, c := range []struct {
			after time.Duration
			again bool
		}{{0, true}, {30 * time.Second, true}, {31 * time.Second, true}, {10 * time.Second, false}} { // the first is out of the window by the third
			time.Sleep(c.after)
			l.Started()
			l.Lost(errCrash, "", true)
			if again := l.Status().State == supervise.Restarting; again != c.again {
				t.Fatalf("loss %d: %v", i+1, again)
			}
		}
		if s := l.Status(); s.State != supervise.Failed || !strings.Contains(s.Reason, "4 times in a row") {
			t.Errorf("%+v", s)
		}
	})
}

// A plugin that cannot be started for a while, because its file is being replaced or there
// is no room for it, is tried for most of the window, then rarely but for as long as it
// takes; when it is there again, all is well.
func TestGoneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			l := supervise.New(supervise.Policy{}, time.Now, slog.New(slog.DiscardHandler))
			l.Started()
			begin := time.Now()
			again, at := l.Lost(errCrash, "", true)
			tries := 0
			for ; l.Status().State == supervise.Restarting; tries++ {
				if !again || tries == 1 && time.Until(at) > time.Second {
					t.Fatalf("the first try after a failed start is in %s, %v", time.Until(at), again)
				}
				time.Sleep(time.Until(at))
				again, at = l.Lost(errors.New("text file busy"), "", true)
			}
			if took := time.Since(begin); tries != 5 || took < 9*time.Second || took > time.Minute {
				t.Fatalf("%d tries in %s, want 5 in most of a minute", tries, took)
			}
			for n, most := range []time.Duration{30, 60, 120, 240, 300, 300, 300} {
				pause := time.Until(at)
				if !again || l.Status().State != supervise.Failed || pause < most*time.Second/2 || pause > most*time.Second+1 {
					t.Fatalf("failed, try %d: %v in %s, %+v", n, again, pause, l.Status())
				}
				if e := l.Error(); e == nil || e.RetryAfter < pause || !strings.Contains(e.Error(), "text file busy") {
					t.Fatalf("%v", e)
				}
				if l.Due() {
					t.Fatal("it is due before its time")
				}
				time.Sleep(pause)
				if !l.Due() {
					t.Fatal("it is not due when it is time")
				}
				again, at = l.Lost(errors.New("text file busy"), "", true)
			}
			l.Started()
			if s := l.Status(); s.State != supervise.Ready || l.Error() != nil || !s.RetryAt.IsZero() || s.Restarts != 1 {
				t.Fatalf("%+v", s)
			}
			if again, at := l.Lost(errCrash, "", true); !again || time.Until(at) > 30*time.Second {
				t.Fatalf("a loss afterwards: %v, in %s", again, time.Until(at))
			}
		}
	})
}

// A start that fails says what was before it.
func TestFailedStart(t *testing.T) {
	l := supervise.New(supervise.Policy{}, time.Now, slog.New(slog.DiscardHandler))
	l.Started()
	l.Lost(errCrash, "", true)
	l.Lost(errors.New("no license"), "", true)
	if s := l.Status(); s.LastLoss != "it crashed" || s.Reason != "no license; before that: it crashed" {
		t.Errorf("%+v", s)
	}
	if err := l.Error(); !strings.Contains(err.Error(), "is being restarted: no license; before that: it crashed") {
		t.Error(err)
	}
}

// A start that is due later than a caller waits is not waited for.
func TestWaitDue(t *testing.T) {
	for _, wait := range []time.Duration{time.Millisecond, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			l := supervise.New(supervise.Policy{Wait: wait, First: 10 * time.Second, Most: 10 * time.Second}, time.Now, slog.New(slog.DiscardHandler))
			l.Started()
			for range 3 { // the first start after a loss is due at once
				l.Lost(errCrash, "", true)
			}
			err := l.WaitDue(t.Context())
			if short := wait < time.Second; short != errors.Is(err, storage.ErrUnavailable) || !short && err != nil {
				t.Errorf("of %s: %v", wait, err)
			}
		})
	}
}

// Callers wait for a start, as long as they may.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := supervise.New(supervise.Policy{Wait: time.Second}, time.Now, slog.New(slog.DiscardHandler))
		is := true
		there := func() bool { return is }
		l.Started()
		if err := l.Wait(t.Context(), there); err != nil {
			t.Error(err)
		}
		// Until it is known what follows from a loss, callers do not hear that calls are accepted.
		is = false
		short, end := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer end()
		if start, err := time.Now(), l.Wait(short, there); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if start, err := time.Now(), l.Wait(t.Context(), there); !errors.Is(err, storage.ErrUnavailable) || time.Since(start) != time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		is = true
		l.Lost(errCrash, "", true)
		time.AfterFunc(500*time.Millisecond, l.Started)
		if start, err := time.Now(), l.Wait(t.Context(), there); err != nil || time.Since(start) != 500*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		l.Lost(errCrash, "", true)
		if start, err := time.Now(), l.Wait(t.Context(), there); !errors.Is(err, storage.ErrUnavailable) || time.Since(start) != time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := l.Wait(ctx, there); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.AfterFunc(100*time.Millisecond, l.Stop)
		if err := l.Wait(t.Context(), there); !errors.Is(err, storage.ErrShuttingDown) {
			t.Error(err)
		}
	})
}

// Of several instances the best counts, and others that are worse are a flaw.
func TestTogether(t *testing.T) {
	of := func(states ...supervise.State) supervise.State {
		var all []supervise.Status
		for _, s := range states {
			all = append(all, supervise.Status{State: s, Restarts: 1})
		}
		s := supervise.Together(all)
		if s.Restarts != len(states) {
			t.Errorf("%d restarts of %d", s.Restarts, len(states))
		}
		return s.State
	}
	for want, states := range map[supervise.State][]supervise.State{
		supervise.Ready:      {supervise.Ready, supervise.Ready},
		supervise.Degraded:   {supervise.Ready, supervise.Failed},
		supervise.Restarting: {supervise.Failed, supervise.Restarting},
		supervise.Failed:     {supervise.Failed, supervise.Failed},
	} {
		if got := of(states...); got != want {
			t.Errorf("%v together are %s", states, got)
		}
	}
}

// curious is a log that asks for the state that it hears of.
type curious struct {
	slog.Handler
	life *supervise.Life
	seen []supervise.State
}

func (c *curious) Enabled(context.Context, slog.Level) bool { return true }
func (c *curious) Handle(context.Context, slog.Record) error {
	c.seen = append(c.seen, c.life.Status().State)
	return nil
}

// Nothing is locked while the log hears of a change.
func TestLogMayAsk(t *testing.T) {
	log := &curious{Handler: slog.DiscardHandler}
	log.life = supervise.New(supervise.Policy{}, time.Now, slog.New(log))
	log.life.Started()
	log.life.SetDegraded("slow")
	log.life.Lost(errCrash, "", true)
	log.life.Stop()
	if want := []supervise.State{supervise.Ready, supervise.Degraded, supervise.Restarting, supervise.Stopped}; !slices.Equal(log.seen, want) {
		t.Errorf("it saw %v, want %v", log.seen, want)
	}
}
