package wasmhost

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What a watchdog does, on a clock of its own: now and then it looks, and bites
// the call that it finds too often.
func TestWatchdog(t *testing.T) {
	const budget = time.Second
	for _, c := range []struct {
		name  string
		does  func(w *watchdog)
		bites int32
	}{
		{"nothing", func(w *watchdog) { time.Sleep(time.Hour) }, 0},
		{"a call that ends in time", func(w *watchdog) {
			call(t, w, 1, budget, false)
		}, 0},
		{"many short calls, for long", func(w *watchdog) {
			for range 10000 {
				call(t, w, 1, budget/100, false)
			}
		}, 0},
		{"calls with rests between them", func(w *watchdog) {
			for range 100 {
				call(t, w, 1, budget/2, false)
				time.Sleep(10 * budget)
			}
		}, 0},
		{"a call too long", func(w *watchdog) {
			call(t, w, 1, 2*budget, true)
		}, 1},
		{"a call too long after a rest", func(w *watchdog) {
			call(t, w, 1, budget/2, false)
			time.Sleep(time.Hour)
			call(t, w, 1, 2*budget, true)
		}, 1},
		{"many frames have many budgets", func(w *watchdog) {
			call(t, w, 64, 63*budget, false)
			call(t, w, 64, 82*budget, true)
		}, 1},
		{"more frames than can be counted", func(w *watchdog) {
			call(t, w, 1<<20, 1000*budget, false)
		}, 0},
		{"stopped", func(w *watchdog) {
			call(t, w, 1, budget/2, false)
			w.stop()
			time.Sleep(time.Hour)
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bites atomic.Int32
				w := newWatchdog(budget, func() { bites.Add(1) })
				c.does(w)
				synctest.Wait()
				if bites.Load() != c.bites {
					t.Errorf("%d bites, want %d", bites.Load(), c.bites)
				}
				w.stop()
			})
		})
	}
}

func call(t *testing.T, w *watchdog, frames int, took time.Duration, bitten bool) {
	t.Helper()
	w.enter(frames)
	time.Sleep(took)
	synctest.Wait() // a look at this very moment is over
	if w.leave() != bitten {
		t.Errorf("a call of %d frames that took %s: bitten is %t", frames, took, !bitten)
	}
}

// A bite comes after the budget, and at most half of it late.
func TestWatchdogIsPunctual(t *testing.T) {
	for _, rest := range []time.Duration{0, 1, time.Second / 3, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			bitten := make(chan time.Time, 1)
			w := newWatchdog(time.Second, func() { bitten <- time.Now() })
			w.enter(1)
			w.leave()
			time.Sleep(rest)
			start := time.Now()
			w.enter(1)
			if took := (<-bitten).Sub(start); took < time.Second || took > 3*time.Second/2 {
				t.Errorf("after a rest of %s: bitten after %s", rest, took)
			}
			w.stop()
		})
	}
}

// Calls that follow each other as fast as they can, while the watchdog looks as
// often as it can: nothing is bitten, and the race detector has nothing to say.
func TestWatchdogRaces(t *testing.T) {
	var bites atomic.Int32
	w := newWatchdog(time.Hour, func() { bites.Add(1) })
	done := make(chan bool)
	go func() {
		for range 200000 {
			w.enter(1 << 15) // it takes so many looks at one call, and these come at once
			if w.leave() {
				t.Error("bitten")
			}
		}
		close(done)
	}()
	for {
		select {
		case <-done:
			if bites.Load() > 0 {
				t.Errorf("%d bites", bites.Load())
			}
			w.stop()
			return
		default:
			w.look()
		}
	}
}
