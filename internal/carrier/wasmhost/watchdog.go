package wasmhost

import (
	"sync/atomic"
	"time"
)

// watchdog interrupts a call that exceeds its budget. It costs a call two atomic writes:
// a timer, armed while there are calls, looks from time to time whether the same call is
// still running. So a call may exceed its budget by a quarter.
type watchdog struct {
	budget time.Duration
	bite   func()
	timer  *time.Timer
	// state is the number of the call that runs << frameBits | its frames; an
	// even number: none runs; bitten: it ran too long.
	call   uint64 // written by the one who holds the instance
	state  atomic.Uint64
	armed  atomic.Bool
	closed atomic.Bool
	// seen and looks are the timer's own.
	seen  uint64
	looks int
}

const (
	frameBits = 16
	looksPer  = 4 // looks in a budget
	bitten    = 1<<64 - 1
)

func newWatchdog(budget time.Duration, bite func()) *watchdog {
	w := &watchdog{budget: budget, bite: bite}
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
	return w
}

func (w *watchdog) enter(frames int) {
	w.call++
	w.state.Store((2*w.call+1)<<frameBits | uint64(min(frames, 1<<frameBits-1)))
	if !w.armed.Load() && w.armed.CompareAndSwap(false, true) {
		w.again()
	}
}

// leave ends the call. It reports whether the call was bitten, also when it came
// to its end all the same.
func (w *watchdog) leave() (tooLong bool) {
	return w.state.Swap(2*w.call<<frameBits) == bitten
}

func (w *watchdog) again() { w.timer.Reset(max(w.budget/looksPer, time.Millisecond)) }

// look runs on the timer's goroutine, one at a time: armed sees to it.
func (w *watchdog) look() {
	if w.closed.Load() {
		return
	}
	state := w.state.Load()
	running := state>>frameBits&1 == 1
	switch {
	case state != w.seen:
		w.seen, w.looks = state, 0
	case !running:
		// Idle since the last look: rest. A call that enters right now either sees
		// armed false and arms again, or is seen here.
		w.armed.Store(false)
		if w.state.Load() == state || !w.armed.CompareAndSwap(false, true) {
			return
		}
	default:
		// Only the call that was seen is bitten, never the one that follows it.
		if w.looks++; w.looks > looksPer*max(int(state&(1<<frameBits-1)), 1) && w.state.CompareAndSwap(state, bitten) {
			w.bite()
			return
		}
	}
	w.again()
}

// stop ends the looks. No call may follow.
func (w *watchdog) stop() {
	w.closed.Store(true)
	w.timer.Stop()
}
