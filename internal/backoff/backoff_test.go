package backoff

import (
	"context"
	"testing"
	"time"
)

// Waits are random within a bound that doubles, has an end, and does not overflow.
func TestDoubling(t *testing.T) {
	d := Doubling{First: 10 * time.Millisecond, Most: time.Second}
	for n, bound := range map[int]time.Duration{0: 10 * time.Millisecond, 1: 20 * time.Millisecond, 6: 640 * time.Millisecond, 7: time.Second, 31: time.Second, 1 << 40: time.Second} {
		if got := d.Bound(n); got != bound {
			t.Errorf("retry %d: %v, want %v", n, got, bound)
		}
		for range 1000 {
			if full, half := d.Full(n), d.Half(n); full < 0 || full > bound || half < bound/2 || half > bound {
				t.Fatalf("retry %d: %v and %v of %v", n, full, half, bound)
			}
		}
	}
}

func TestWait(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	over := make(chan struct{})
	close(over)
	if !Wait(t.Context(), 0, nil) || Wait(ended, time.Hour, nil) || Wait(t.Context(), time.Hour, over) {
		t.Error("a wait ended as another does")
	}
}
