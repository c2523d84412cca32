package growth_test

import (
	"testing"

	"github.com/plinthkv/plinth/internal/growth"
)

// Nothing grows much faster than n·log n. The bound is generous, for machines that do
// other things: what grows with the square comes to 11, and is tried again before it
// counts.
func TestGrowth(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector's run has no use for times")
	}
	const bound, tries = 6, 4
	for _, w := range growth.Works() {
		t.Run(w.Name, func(t *testing.T) {
			least := 0.0
			for range tries {
				took := growth.Measure(w, 1)
				if excess := took.Excess(); least == 0 || excess < least {
					least = excess
				}
				if least <= bound {
					return
				}
			}
			t.Errorf("it grows %.1f times as fast as n·log n does", least)
		})
	}
}
