package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/plinthkv/plinth/internal/backoff"
	"github.com/plinthkv/plinth/storage"
)

// Policy configures how a lost plugin is started again. Zero fields have their defaults.
type Policy struct {
	// Budget bounds the losses and failed starts within Window; beyond it the plugin has
	// failed, and is started rarely. By default 5; negative: no limit.
	Budget int
	Window time.Duration // 1 minute
	// First and Most bound the wait before a start. There is none before the first start
	// after a loss; then it is random up to First, which doubles up to Most. By default
	// 100 ms and 30 s. After a failed start the wait is longer, so that the budget lasts
	// for most of Window.
	First, Most time.Duration
	// Wait bounds the time that a call waits for a plugin that is being started again. By
	// default 2 s; negative: calls do not wait.
	Wait time.Duration
}

// WithDefaults returns p with all defaults set.
func (p Policy) WithDefaults() Policy {
	for _, d := range []struct{ v, to *time.Duration }{
		{&p.Window, ptr(time.Minute)}, {&p.First, ptr(100 * time.Millisecond)}, {&p.Most, ptr(30 * time.Second)}, {&p.Wait, ptr(2 * time.Second)}} {
		if *d.v == 0 {
			*d.v = *d.to
		}
	}
	if p.Budget == 0 {
		p.Budget = 5
	}
	return p
}

func ptr[T any](v T) *T { return &v }

// Life tracks the state of one plugin, or of one of its instances. It is safe for
// concurrent use.
type Life struct {
	policy Policy
	clock  func() time.Time
	log    *slog.Logger

	mu      sync.Mutex
	status  Status
	losses  []time.Time // within the window
	row     int         // of losses and failed starts, since it was steady
	starts  int         // that failed, since it served
	refusal string      // the error of calls while none are accepted
	unsaid  []change    // what the log has not heard of
	changed chan struct{}
}

// New returns a Life in the state Starting. clock is the host's; log gets a record of
// every change.
func New(p Policy, clock func() time.Time, log *slog.Logger) *Life {
	return &Life{policy: p.WithDefaults(), clock: clock, log: log, changed: make(chan struct{}), status: Status{Since: clock()}}
}

// Status returns the current status.
func (l *Life) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// change is a change of state.
type change struct {
	from, to State
	reason   string
}

// unlock releases the lock, and logs what has changed meanwhile: no lock is held while the
// log is written to.
func (l *Life) unlock() {
	unsaid := l.unsaid
	l.unsaid = nil
	l.mu.Unlock()
	for _, c := range unsaid {
		l.say(c)
	}
}

func (l *Life) say(c change) {
	level := slog.LevelDebug // of normal changes
	switch {
	case c.to == Failed:
		level = slog.LevelError
	case c.to == Restarting || c.to == Degraded:
		level = slog.LevelWarn
	case c.from == Restarting || c.from == Degraded:
		level = slog.LevelInfo
	}
	attrs := []any{"from", c.from.String(), "to", c.to.String()}
	if c.reason != "" {
		attrs = append(attrs, "reason", c.reason)
	}
	l.log.Log(context.Background(), level, "plugin state", attrs...)
}

// to changes the state. The lock is held.
func (l *Life) to(s State, reason string) {
	from := l.status.State
	if from == Stopped {
		return
	}
	l.status.Reason = reason
	if from == s {
		return
	}
	l.status.State, l.status.Since = s, l.clock()
	close(l.changed)
	l.changed = make(chan struct{})
	l.unsaid = append(l.unsaid, change{from, s, reason})
}

// Started marks the plugin ready.
func (l *Life) Started() {
	l.mu.Lock()
	defer l.unlock()
	if l.tries() {
		l.status.Restarts++
	}
	l.status.RetryAt = time.Time{}
	l.to(Ready, "")
}

// SetDegraded marks a serving plugin degraded because of wrong, or ready if wrong is empty.
func (l *Life) SetDegraded(wrong string) {
	l.mu.Lock()
	defer l.unlock()
	switch {
	case !l.status.State.Serves():
	case wrong == "":
		l.to(Ready, "")
	default:
		l.to(Degraded, wrong)
	}
}

// Lost marks the plugin lost, or not started, because of why. again says whether it may
// be started again at all. what has details for the log that callers do not see, such as
// the plugin's last words; it is optional. Lost returns whether the plugin will be
// started, and when.
func (l *Life) Lost(why error, what string, again bool) (bool, time.Time) {
	l.mu.Lock()
	defer l.unlock()
	now := l.clock()
	if l.status.State.Serves() {
		l.status.LastLoss = why.Error()
		l.starts = -1
		if now.Sub(l.status.Since) > l.policy.Window {
			l.row, l.losses = 0, nil
		}
	}
	l.starts++
	told := why.Error()
	if l.status.State == Restarting && l.status.LastLoss != "" {
		told += "; before that: " + l.status.LastLoss
	}
	l.row++
	for len(l.losses) > 0 && now.Sub(l.losses[0]) > l.policy.Window {
		l.losses = l.losses[1:]
	}
	l.losses = append(l.losses, now)
	reason := told
	if what != "" {
		reason += "; its last output: " + what
	}
	switch {
	case !again:
		l.status.RetryAt = time.Time{}
		l.refusal = "the plugin has failed and its state is lost: " + told
		l.to(Failed, "its state is lost: "+reason)
	case l.policy.Budget > 0 && len(l.losses) > l.policy.Budget, l.status.State == Failed:
		often := fmt.Sprintf("lost, or not started, %d times in a row, the last time: ", l.row)
		l.status.RetryAt = now.Add(l.rare())
		l.refusal = "the plugin has failed, and is tried again now and then: " + often + told
		l.to(Failed, often+reason)
	default:
		l.refusal = "the plugin has failed and is being restarted: " + told
		l.status.RetryAt = now.Add(l.pause())
		l.to(Restarting, reason)
	}
	return l.tries(), l.status.RetryAt
}

// tries reports whether it is or will be started again. The lock is held.
func (l *Life) tries() bool {
	return l.status.State == Restarting || l.status.State == Failed && !l.status.RetryAt.IsZero()
}

// pause returns how long the next start waits. The lock is held.
func (l *Life) pause() time.Duration {
	if l.starts > 0 {
		// Window/240, then four times as long: five of them take a third to two thirds of
		// Window. A file that is being replaced is there again by then.
		return backoff.Half(min(l.policy.Window/240<<min(2*(l.starts-1), 30), l.policy.Most))
	}
	if l.row < 2 {
		return 0
	}
	return backoff.Doubling{First: l.policy.First, Most: l.policy.Most}.Full(l.row - 2)
}

// Once it has failed it is tried after rareFirst, and after twice as long each time, up to
// rareMost.
const (
	rareFirst = 30 * time.Second
	rareMost  = 5 * time.Minute
)

// rare returns how long the next try waits once it has failed. The lock is held.
func (l *Life) rare() time.Duration {
	return backoff.Doubling{First: rareFirst, Most: rareMost}.Half(max(l.row-l.policy.Budget-1, 0))
}

// Stop marks the plugin closed.
func (l *Life) Stop() {
	l.mu.Lock()
	defer l.unlock()
	l.to(Stopped, "")
}

// Due reports whether it is time to start it again.
func (l *Life) Due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tries() && !l.clock().Before(l.status.RetryAt)
}

// Error returns why calls are refused, or nil if they are accepted.
func (l *Life) Error() *storage.Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch s := &l.status; s.State {
	case Starting:
		return storage.Errorf(storage.Unavailable, "the plugin is starting")
	case Restarting:
		e := &storage.Error{Code: storage.Unavailable, Msg: l.refusal}
		e.RetryAfter = max(s.RetryAt.Sub(l.clock()), 0).Truncate(time.Millisecond) + time.Millisecond
		return e
	case Failed:
		e := &storage.Error{Code: storage.Unavailable, Msg: l.refusal}
		if l.tries() {
			e.RetryAfter = max(s.RetryAt.Sub(l.clock()), 0).Truncate(time.Millisecond) + time.Millisecond
		}
		return e
	case Stopped:
		return &storage.Error{Code: storage.ShuttingDown}
	}
	return nil
}

// WaitDue waits until it is time to start it again, for carriers whose callers do that
// themselves. It returns an error if that will take too long.
func (l *Life) WaitDue(ctx context.Context) error {
	l.mu.Lock()
	left := l.status.RetryAt.Sub(l.clock())
	restarting := l.status.State == Restarting
	l.mu.Unlock()
	if !restarting || left <= 0 {
		return nil
	}
	if left > l.policy.Wait {
		return l.unless()
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
}

// Wait waits until calls are accepted, within the policy and ctx, or returns why they are
// not. there reports whether an instance exists: it may have ended before Lost was
// called.
func (l *Life) Wait(ctx context.Context, there func() bool) error {
	timer := time.NewTimer(max(l.policy.Wait, 0))
	defer timer.Stop()
	for {
		l.mu.Lock()
		state, changed := l.status.State, l.changed
		l.mu.Unlock()
		gone := state.Serves() && !there()
		if state != Starting && state != Restarting && !gone {
			return l.unless()
		}
		select {
		case <-changed:
		case <-timer.C:
			if gone {
				return storage.Errorf(storage.Unavailable, "the plugin has just failed")
			}
			return l.unless()
		case <-ctx.Done():
			return storage.ContextError(ctx)
		}
	}
}

// unless returns Error as an error.
func (l *Life) unless() error {
	if e := l.Error(); e != nil {
		return e
	}
	return nil
}
