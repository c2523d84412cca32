package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
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
	t.notReused()
	t.must(t.b.Close(t.ctx))
	before, _ := t.settled(0)
	for range 3 {
		t.fresh()
		t.busy()
		t.must(t.b.Close(t.ctx))
	}
	if after, profile := t.settled(before); after > before {
		t.Errorf("%d goroutines before, %d after Close:\n%s", before, after, profile)
	}
}

// notReused ends a check that opens many backends, where that takes long.
func (t *T) notReused() {
	if t.factory.Reuse {
		t.notApplicable("opening a backend takes long, and the check opens dozens")
	}
}

// settled returns the number of goroutines of this check, once it is at most want or stays the
// same, and where they are.
func (t *T) settled(want int) (n int, profile string) {
	if t.factory.Settle != nil {
		t.factory.Settle()
	}
	n, profile = t.goroutines()
	for calm := 0; n > want && calm < 100; calm++ {
		time.Sleep(2 * time.Millisecond) // for goroutines that are on their way out
		now, where := t.goroutines()
		if now != n {
			calm = 0
		}
		n, profile = now, where
	}
	return n, profile
}

// checkLabel is the profiler label of a check's goroutines. A goroutine has the labels of
// the one that started it, so that what other tests of the process start is not counted.
const checkLabel = "storagetest"

// checksRun numbers the checks of the process: the values of checkLabel.
var checksRun atomic.Uint64

// labelled makes the calling goroutine, and what it starts from now on, the check's own.
func (t *T) labelled() {
	t.number = checksRun.Add(1)
	t.label = strconv.FormatUint(t.number, 10)
	t.ctx = pprof.WithLabels(t.ctx, pprof.Labels(checkLabel, t.label))
	pprof.SetGoroutineLabels(t.ctx)
}

// goroutines counts the goroutines of this check, and says where they are.
func (t *T) goroutines() (n int, profile string) {
	var all, own strings.Builder
	pprof.Lookup("goroutine").WriteTo(&all, 1)
	label := fmt.Sprintf("%q:%q", checkLabel, t.label)
	_, records, _ := strings.Cut(all.String(), "\n") // after the total of the process
	// A record is a line with the number of goroutines, one with their labels, and their stack.
	for record := range strings.SplitSeq(records, "\n\n") {
		if !strings.Contains(record, label) {
			continue
		}
		count, _, _ := strings.Cut(record, " ")
		same, _ := strconv.Atoi(count)
		n += same
		own.WriteString(record + "\n\n")
	}
	return n, own.String()
}

// noMemoryStays opens, fills and closes again and again. After some rounds, which fill
// pools and caches, memory must not grow by what one round takes. Memory is the process's,
// in which other tests may run: what leaks does so each time that one looks.
func noMemoryStays(t *T) {
	t.notReused()
	t.must(t.b.Close(t.ctx))
	var text string
	for range 3 {
		if text = t.leaked(); text == "" {
			return
		}
	}
	t.Errorf("%s", text)
}

// leaked says what rounds of use left behind, or nothing.
func (t *T) leaked() string {
	const rounds, warm, size = 24, 8, 1 << 20
	value := bytes.Repeat(bs("v"), min(size, tryable(t.info.Limits.Value, size)))
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
		return fmt.Sprintf("%d rounds left %d bytes on the heap", rounds-warm, grown)
	}
	if grown := residentNow - resident; resident > 0 && grown > most+32<<20 {
		return fmt.Sprintf("%d rounds left the process %d bytes larger", rounds-warm, grown)
	}
	return ""
}

// forget drops the backends that were closed.
func (t *T) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened, t.b, t.s = nil, nil, nil
}

// memory returns the live heap and, if it can be read, the resident memory of the process.
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
