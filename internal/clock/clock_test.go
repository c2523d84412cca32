package clock

import (
	"sync"
	"testing"
	"time"
)

// wall is a source that can be set. With mono it has a monotonic clock in addition, as the
// system has; without one it is like the clocks of tests.
type wall struct {
	mu        sync.Mutex
	mono      bool
	now, real int64
}

func newWall(mono bool) *wall { return &wall{mono: mono, now: 1_700_000_000_000} }

func (w *wall) read() reading {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mono {
		return reading{w.now, w.real}
	}
	return reading{w.now, w.now - 1_700_000_000_000}
}

func (w *wall) pass(d time.Duration) { w.move(d, d) }
func (w *wall) set(by time.Duration) { w.move(by, 0) }

func (w *wall) move(now, real time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now += now.Milliseconds()
	w.real += real.Milliseconds()
}

func both(t *testing.T, test func(t *testing.T, w *wall)) {
	t.Run("monotonic", func(t *testing.T) { test(t, newWall(true)) })
	t.Run("settable", func(t *testing.T) { test(t, newWall(false)) })
}

func TestSetBack(t *testing.T) {
	both(t, func(t *testing.T, w *wall) {
		c := follow(w.read)
		var steps []Step
		c.Notify(func(s Step) { steps = append(steps, s) })
		moved := func(from int64) time.Duration { return time.Duration(c.Millis()-from) * time.Millisecond }

		begin := c.Millis()
		w.set(time.Hour) // for one call
		if got := moved(begin); got != time.Hour {
			t.Fatalf("set ahead by 1h, the clock moved by %v", got)
		}
		if w.mono && (len(steps) != 1 || steps[0].By != time.Hour) {
			t.Errorf("set ahead: steps %v", steps)
		}
		w.set(-time.Hour)
		high := c.Millis()
		if high-begin != time.Hour.Milliseconds() || c.Ahead() != time.Hour {
			t.Fatalf("set back: %dms after the begin, ahead by %v", high-begin, c.Ahead())
		}
		if n := len(steps); n == 0 || steps[n-1].By != -time.Hour || c.LastStep() != steps[n-1] {
			t.Errorf("set back: steps %v", steps)
		}
		w.pass(8 * time.Minute)
		if got := moved(high); got != 7*time.Minute {
			t.Errorf("8m later the clock has moved by %v, want 7m", got)
		}
		n := len(steps)
		w.set(-time.Hour)
		again := c.Millis()
		if len(steps) != n+1 || w.mono && steps[n].By != -time.Hour {
			t.Errorf("set back again: steps %v", steps)
		}
		w.pass(8 * time.Minute)
		if got := moved(again); got != 7*time.Minute {
			t.Errorf("8m after it was set back again the clock has moved by %v, want 7m", got)
		}
		for range 24 { // two hours are caught up in sixteen
			w.pass(time.Hour)
			c.Millis()
		}
		if c.Ahead() != 0 || c.Millis() != w.read().now {
			t.Errorf("a day later it is ahead by %v", c.Ahead())
		}
		w.pass(time.Minute)
		if c.Millis() != w.read().now || len(steps) != n+1 {
			t.Errorf("it does not follow any more, or saw steps that were none: %v", steps)
		}
	})
}

func TestDriftIsNoStep(t *testing.T) {
	w := newWall(true)
	c := follow(w.read)
	c.Notify(func(s Step) { t.Errorf("step by %v", s.By) })
	for range 10_000 {
		w.move(time.Second+time.Millisecond/2, time.Second)
		w.move(time.Millisecond/2+time.Millisecond, 0) // 1,000 ppm
		c.Millis()
	}
}

func TestSmallSetBacksStandStill(t *testing.T) {
	both(t, func(t *testing.T, w *wall) {
		c := follow(w.read)
		begin := c.Millis()
		w.set(-900 * time.Millisecond)
		for range 9 {
			if got := c.Millis(); got != begin {
				t.Fatalf("moved by %dms", got-begin)
			}
			w.pass(100 * time.Millisecond)
		}
		w.pass(time.Millisecond)
		if c.Millis() != begin+1 || c.LastStep() != (Step{}) {
			t.Error("the source has caught up, and the clock has not")
		}
	})
}

func TestLaterIsLater(t *testing.T) {
	c := follow(newWall(true).read)
	seen := c.Millis()
	for range 3 {
		if got := c.Later(); got <= seen {
			t.Fatal("not later")
		} else {
			seen = got
		}
	}
}

func TestManyCallersWhileItIsSet(t *testing.T) {
	w := newWall(true)
	c := follow(w.read)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := int64(0)
			for range 20_000 {
				now := c.Millis()
				if now < last {
					t.Errorf("went back by %dms", last-now)
					return
				}
				last = now
			}
		})
	}
	for _, by := range []time.Duration{time.Hour, -time.Hour, -time.Minute, 5 * time.Minute, -3 * time.Hour} {
		w.set(by)
		w.pass(time.Second)
	}
	wg.Wait()
}

func TestNoSourceIsTheSystem(t *testing.T) {
	if New(nil) != System() {
		t.Error("two clocks in one process")
	}
	if d := time.Since(System().Now()); d < -time.Second || d > time.Second {
		t.Errorf("off by %v", d)
	}
	own := New(time.Now)
	if d := System().Millis() - own.Millis(); d < -1000 || d > 1000 {
		t.Errorf("%dms apart", d)
	}
}

func BenchmarkMillis(b *testing.B) {
	for b.Loop() {
		System().Millis()
	}
}

func BenchmarkTimeNow(b *testing.B) {
	for b.Loop() {
		_ = time.Now().UnixMilli()
	}
}

func TestNotifyStops(t *testing.T) {
	w := newWall(true)
	c := follow(w.read)
	var heard [2]int
	stop := c.Notify(func(Step) { heard[0]++ })
	defer c.Notify(func(Step) { heard[1]++ })()
	w.set(time.Hour)
	c.Millis()
	stop()
	w.set(time.Hour)
	c.Millis()
	if heard != [2]int{1, 2} {
		t.Errorf("they heard %v steps", heard)
	}
}
