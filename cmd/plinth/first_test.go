package main

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
)

// The first runtimes of a process may be made concurrently, which the race
// detector has to look at: wazero notes its version for all of them, where the program
// has one of it.
func TestFirstRuntimesAtOnce(t *testing.T) {
	const alone = "PLINTH_TEST_FIRST_RUNTIMES"
	if os.Getenv(alone) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFirstRuntimesAtOnce$")
		cmd.Env = append(os.Environ(), alone+"=1", "GORACE=atexit_sleep_ms=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	start := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			<-start
			r, err := wasmhost.NewRuntime(context.Background(), dir)
			if err != nil {
				t.Error(err)
				return
			}
			if err := r.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	all.Wait()
}
