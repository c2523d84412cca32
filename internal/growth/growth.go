package growth

import (
	"math"
	"runtime"
	"time"
)

// Work does a piece of work of a size that callers choose.
type Work struct {
	Name string
	// Prepare makes what the work of size n needs. The function that it returns is measured.
	Prepare func(n int) (work func())
}

// Base sets the smallest size that is measured; the sizes are 1, 4 and 16 times that.
const Base = 1000

// Sizes are those that are measured.
var sizes = [...]int{Base, 4 * Base, 16 * Base}

// Times are what a work took of the processors at the sizes that are measured, the least
// of some rounds. The clock would measure what else the machine does: a short work is
// done before another process has its turn, a long one shares with it.
type Times [len(sizes)]time.Duration

// Measure does the work of each size so many times.
func Measure(w Work, rounds int) (took Times) {
	for i, n := range sizes {
		for range rounds {
			work := w.Prepare(n)
			runtime.GC()
			start := spent()
			work()
			if d := spent() - start; took[i] == 0 || d < took[i] {
				took[i] = d
			}
		}
	}
	return took
}

// Excess returns by which factor the time grew faster than n·log n. Work that grows with
// the square of n has about 11.
func (t Times) Excess() (most float64) {
	at := func(n int) float64 { return float64(n) * math.Log(float64(n)) }
	for i, n := range sizes {
		most = max(most, float64(t[i])/float64(t[0])/(at(n)/at(sizes[0])))
	}
	return most
}
