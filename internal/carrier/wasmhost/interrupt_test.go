package wasmhost_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// The engine looks where a loop begins whether a guest is to be interrupted. One
// that takes long without a loop is interrupted all the same: each of these would
// run for half a minute at least, the first three for longer than anyone waits.
func TestInterruptsWithoutLoops(t *testing.T) {
	const memory = 64 << 20
	i32 := func(n uint64) []byte { return append([]byte{0x41}, leb64(n)...) }
	// calling returns nothing, after what body does; it is function 4, and those that
	// follow are 5 and up.
	calling := func(body []byte, more ...wasmFunc) wasm {
		w := minimal().with(wasmFunc{"plinth_call", "i", "I", slices.Concat(body, zero64)})
		w.memory = append([]byte{0}, leb(memory>>16)...)
		w.funcs = append(w.funcs, more...)
		return w
	}
	// twice calls itself by the instructions given, with one less, twice.
	twice := func(self []byte) wasmFunc {
		again := slices.Concat([]byte{0x20, 0}, i32(1), []byte{0x6B}, self)
		return wasmFunc{"twice", "i", "", slices.Concat([]byte{0x20, 0, 0x04, 0x40}, again, again, []byte{0x0B})}
	}
	var doubling []wasmFunc
	for i := range byte(60) {
		doubling = append(doubling, wasmFunc{fmt.Sprint("f", i), "", "", []byte{0x10, 6 + i, 0x10, 6 + i}})
	}
	doubling = append(doubling, wasmFunc{name: "f60"})
	throughTable := calling(slices.Concat(i32(60), []byte{0x10, 5}), twice(slices.Concat(i32(0), []byte{0x11, 5, 0})))
	throughTable.tables = []byte{1, 0x70, 0, 1}
	throughTable.elems = []byte{1, 0, 0x41, 0, 0x0B, 1, 5}
	fill := slices.Concat(i32(0), i32(7), i32(memory), []byte{0xFC, 0x0B, 0})
	random := slices.Concat(i32(0), i32(memory), []byte{0x10, 0, 0x1A})
	for _, c := range []struct {
		name string
		w    wasm
	}{
		{"a function that calls itself twice", calling(slices.Concat(i32(60), []byte{0x10, 5}), twice([]byte{0x10, 5}))},
		{"functions that call the next one twice", calling([]byte{0x10, 5}, doubling...)},
		{"a function that calls itself through a table", throughTable},
		{"operations on all of memory", calling(slices.Repeat(fill, 3000))},
		{"functions of the host", calling(slices.Repeat(random, 2000), wasmFunc{"two to one", "ii", "i", i32(0)}).
			importing(wasmImport{"wasi_snapshot_preview1", "random_get", 0, []byte{5}})},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := wasmhost.Options{Name: "acme", Call: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
			b := openModule(t, load(t, newRuntime(t), c.w.bytes(), o), "")
			start := time.Now()
			_, err := b.Get(context.Background(), []byte("k"))
			if want := "plugin acme: plinth_call: exceeded limits.call (100ms) and was interrupted"; err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("interrupted after %s", took)
			}
		})
	}
}

// While an interruptible guest runs, garbage is collected: the collector has to
// stop every goroutine, and native code stops nowhere by itself.
func TestGarbageIsCollectedMeanwhile(t *testing.T) {
	for _, act := range []string{"loop", "twice"} {
		t.Run(act, func(t *testing.T) {
			o := hostileOptions
			o.Call = time.Second
			b, _ := hostile(t, "", o)
			var ended atomic.Bool
			result := make(chan error, 1)
			go func() {
				_, err := b.Get(context.Background(), []byte("!call:"+act))
				ended.Store(true)
				result <- err
			}()
			time.Sleep(10 * time.Millisecond) // the guest is on its way, and stays there for a second
			runtime.GC()
			if ended.Load() {
				t.Error("the collector waited for the guest")
			}
			if err := <-result; !errors.Is(err, storage.ErrUnavailable) {
				t.Error(err)
			}
		})
	}
}

// A recursion without end comes to one, and does not take the host's memory.
func TestDeepRecursion(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprintf("trusted=%t", trusted), func(t *testing.T) {
			o := wasmhost.Options{Name: "hostile", Log: slog.New(slog.DiscardHandler), Trusted: trusted, BuiltIn: trusted}
			if !trusted {
				o.Call = time.Minute // it takes a tenth of a second, a busy machine longer
			}
			b := openGuest(t, "hostile", "", o)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := b.Get(context.Background(), []byte("!call:dive"))
			runtime.ReadMemStats(&after)
			if want := "plugin hostile: plinth_call: stack overflow"; !errors.Is(err, storage.ErrUnavailable) || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			// The stack is doubled until it has 50 MB, and all of them are counted.
			if took := after.TotalAlloc - before.TotalAlloc; took > 400<<20 {
				t.Errorf("it took %d MiB", took>>20)
			}
			if _, err := b.Get(context.Background(), []byte("k")); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("it was called again: %v", err)
			}
		})
	}
}

// A table grows outside the limit of memory, on the host's heap: it has one of its own.
func TestTablesAreBounded(t *testing.T) {
	// plinth_call grows the table by its argument, and returns the bare code that is the
	// low byte of what table.grow says.
	grow := func(by uint64) wasm {
		w := minimal().with(wasmFunc{"plinth_call", "i", "I", slices.Concat([]byte{0xD0, 0x70, 0x41}, leb64(by), []byte{0xFC, 0x0F, 0}, // ref.null, by, table.grow
			[]byte{0xAC, 0x42, 0x7F, 0x51, 0xAD, 0x42}, leb64(0x80000002), []byte{0x7C})}) // is it -1, plus the error bit and 2
		w.tables = []byte{1, 0x70, 0, 1}
		return w
	}
	for _, c := range []struct {
		by   uint64
		want string
	}{
		{1000, "plugin acme: plinth_call returned the bare code 2"},
		{1<<20 - 1, "plugin acme: plinth_call returned the bare code 2"},
		{1 << 20, "plugin acme: plinth_call returned the bare code 3"},
		{1<<31 - 1, "plugin acme: plinth_call returned the bare code 3"},
	} {
		b := openModule(t, load(t, newRuntime(t), grow(c.by).bytes(), wasmhost.Options{Name: "acme", Log: slog.New(slog.DiscardHandler)}), "")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := b.Get(context.Background(), []byte("k"))
		runtime.ReadMemStats(&after)
		if err == nil || err.Error() != c.want {
			t.Errorf("by %d: %v, want %s", c.by, err, c.want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
			t.Errorf("by %d: it took %d MiB", c.by, took>>20)
		}
	}
}
