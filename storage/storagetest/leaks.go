package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func leakChecks() []Check {
	return in("leaks",
		is("goroutines", 0, noGoroutineStays),
		long("memory", 0, noMemoryStays),
	)
}

// busy uses a backend in every way that might leave something behind.
func (t *T) busy() {
	t.parallel(4, func(i int) {
		for n := range 50 {
			ctx, cancel := context.WithCancel(t.ctx)
			if n%5 == 0 {
				cancel()
			}
			k := fmt.Appendf(nil, "%d %d", i, n)
			t.b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(k, k)}})
			t.b.Get(ctx, k)
			for range t.s.Range(ctx, nil, nil, storage.RangeOptions{PageItems: 2}) {
				break
			}
			cancel()
		}
	})
	t.s.Begin(storage.Serializable).Get(t.ctx, bs("dropped"))
}

// noGoroutineStays counts before the backend is opened and after it is closed.
func noGoroutineStays(t *T) {
	t.must(t.b.Close(t.ctx))
	before := t.settled(0)
	for range 3 {
		t.fresh()
		t.busy()
		t.must(t.b.Close(t.ctx))
	}
	if after := t.settled(before); after > before {
		t.Errorf("%d goroutines before, %d after Close:\n%s", before, after, stacks())
	}
}

// settled is the number of goroutines, once it is at most want or stays the same.
func (t *T) settled(want int) int {
	if t.factory.Settle != nil {
		t.factory.Settle()
	}
	n := runtime.NumGoroutine()
	for calm := 0; n > want && calm < 100; calm++ {
		time.Sleep(2 * time.Millisecond) // for goroutines that are on their way out
		if now := runtime.NumGoroutine(); now != n {
			n, calm = now, 0
		}
	}
	return n
}

// noMemoryStays opens, fills and closes again and again. After some rounds,
// which fill pools and caches, memory must not grow by what one round takes.
func noMemoryStays(t *T) {
	const rounds, warm, size = 24, 8, 1 << 20
	value := bytes.Repeat(bs("v"), min(size, tryable(t.info.Limits.Value, size)))
	t.must(t.b.Close(t.ctx))
	t.forget()
	var heap, resident int64
	for round := range rounds {
		t.fresh()
		for i := range 4 {
			t.apply(storage.Put([]byte{byte(i)}, value))
			t.item(string([]byte{byte(i)}))
		}
		t.must(t.b.Close(t.ctx))
		t.forget()
		if round == warm {
			heap, resident = memory()
		}
	}
	heapNow, residentNow := memory()
	most := int64((rounds - warm) * max(len(value), size/16)) // a quarter of what went through; little is noise
	// What was closed may be on its way out still.
	for calm := 0; heapNow-heap > most && calm < 50; calm++ {
		time.Sleep(100 * time.Millisecond)
		heapNow, residentNow = memory()
	}
	if grown := heapNow - heap; grown > most {
		t.Errorf("%d rounds left %d bytes on the heap", rounds-warm, grown)
	}
	if grown := residentNow - resident; resident > 0 && grown > most+32<<20 {
		t.Errorf("%d rounds left the process %d bytes larger", rounds-warm, grown)
	}
}

// forget drops the backends that were closed.
func (t *T) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened, t.b, t.s = nil, nil, nil
}

// memory is the live heap and, where it can be told, what the process resides in.
func memory() (heap, resident int64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(statm); len(fields) > 1 {
			pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			resident = pages * int64(os.Getpagesize())
		}
	}
	return int64(m.HeapAlloc), resident
}
