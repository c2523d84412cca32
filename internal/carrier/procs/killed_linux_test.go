package procs_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// A call right after kill -9 is as good as a later one, which waits for the restart: it is
// sent to the next process if it has not reached the killed one. Of a write that may have
// reached it, the outcome is unknown.
func TestCallsRightAfterAKill(t *testing.T) {
	key := []byte("k")
	kinds := []struct {
		name string
		call func(b storage.Backend) error
	}{
		{"get", func(b storage.Backend) error { _, err := b.Get(t.Context(), key); return err }},
		{"apply", func(b storage.Backend) error { return set(b, "k", "v") }},
		{"scan", func(b storage.Backend) error { _, err := b.Scan(t.Context(), storage.Query{}); return err }},
		{"get_many", func(b storage.Backend) error { _, err := b.GetMany(t.Context(), [][]byte{key}); return err }},
	}
	kills := 120
	if testing.Short() {
		kills = 12
	}
	for _, plain := range []bool{false, true} {
		for _, callers := range []int{1, 8} {
			t.Run(fmt.Sprintf("plain %v, %d callers", plain, callers), func(t *testing.T) {
				o := options(t, "durable")
				o.Plain = plain
				o.Restart = supervise.Policy{Budget: -1, First: time.Millisecond, Most: time.Millisecond, Wait: time.Minute}
				b := open(t, o)
				var mu sync.Mutex
				unknown := 0
				for n := range kills / min(callers, 2) {
					if err := syscall.Kill(b.PID(), syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					// Before, while, and after the system closes the killed process's sockets.
					time.Sleep(time.Duration(n/len(kinds)%6) * 300 * time.Microsecond)
					var wg sync.WaitGroup
					for i := range callers {
						k := kinds[(n+i)%len(kinds)]
						wg.Go(func() {
							switch err := k.call(b); {
							case err == nil, errors.Is(err, storage.ErrNotFound):
							case errors.Is(err, storage.ErrOutcomeUnknown) && k.name == "apply":
								mu.Lock()
								unknown++
								mu.Unlock()
							default:
								t.Errorf("kill %d: %s: %v", n, k.name, err)
							}
						})
					}
					wg.Wait()
					if err := set(b, "k", "v"); err != nil { // the next one is there
						t.Fatalf("kill %d: a later call: %v", n, err)
					}
				}
				t.Logf("%d outcomes of writes are unknown", unknown)
				if callers == 1 && !plain && unknown > 1+kills/40 {
					t.Errorf("%d writes that the killed process has not read are not sent again", unknown)
				}
			})
		}
	}
}

// A read that ends the plugin is not sent to the next process.
func TestReadsThatKillAreNotRepeated(t *testing.T) {
	for _, plain := range []bool{false, true} {
		o := options(t, "panics")
		o.Plain, o.RestartEmpty = plain, true
		b := open(t, o)
		if _, err := b.Get(context.Background(), []byte("exit")); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		eventually(t, "it was restarted", func() bool { return b.Status().State == supervise.Ready && b.Status().Restarts > 0 })
		if n := b.Status().Restarts; n != 1 {
			t.Errorf("it was restarted %d times", n)
		}
	}
}
