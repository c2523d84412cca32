package storagetest

import (
	"runtime"
	"runtime/debug"
	"sync"
)

// parallel runs do with 0 … n-1 at once and waits for all. A Fatalf ends its own
// goroutine, and the check once all have ended.
func (t *T) parallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("panic: %v\n%s", p, debug.Stack())
				}
			}()
			do(i)
		})
	}
	wg.Wait()
	if t.Failed() {
		runtime.Goexit()
	}
}

// background runs do again and again until stop is called, which waits for it.
func (t *T) background(n int, do func(i int)) (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					do(i)
				}
			}
		})
	}
	return func() {
		close(done)
		wg.Wait()
		if t.Failed() {
			runtime.Goexit()
		}
	}
}
