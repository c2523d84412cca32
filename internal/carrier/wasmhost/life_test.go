package wasmhost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// What is opened is given back: memory, its address space, descriptors,
// goroutines (main_test.go looks for those).

// process is what the kernel knows of this process.
type process struct {
	resident, addresses int64 // bytes
	mappings, files     int
}

func measure(t *testing.T) process {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("what a process holds is read from /proc")
	}
	debug.FreeOSMemory()
	read := func(name string) []byte {
		b, err := os.ReadFile("/proc/self/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pages := strings.Fields(string(read("statm")))
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n * int64(os.Getpagesize())
	}
	return process{number(pages[1]), number(pages[0]), bytes.Count(read("maps"), []byte("\n")), len(files)}
}

// grown reports what has grown by more than the noise of a Go process.
func (p process) grown(since process) error {
	switch {
	case p.resident > since.resident+64<<20:
		return fmt.Errorf("resident memory has grown by %d MiB", (p.resident-since.resident)>>20)
	case p.addresses > since.addresses+256<<20:
		return fmt.Errorf("address space has grown by %d MiB", (p.addresses-since.addresses)>>20)
	case p.mappings > since.mappings+50:
		return fmt.Errorf("%d mappings, before %d", p.mappings, since.mappings)
	case p.files > since.files:
		return fmt.Errorf("%d open files, before %d", p.files, since.files)
	}
	return nil
}

// Each time around something is opened, used, and ended in one of all ways.
func TestNothingStays(t *testing.T) {
	if testing.Short() {
		t.Skip("it weighs this process, which is another one under the race detector, and has one caller: it runs without -short")
	}
	ctx := context.Background()
	r := newRuntime(t)
	// A MiB is used each time, of 256 that are reserved.
	quiet := wasmhost.Options{Name: "hostile", Memory: 256 << 20, Log: slog.New(slog.DiscardHandler)}
	trusted := quiet
	trusted.Trusted, trusted.BuiltIn = true, true
	binary := committed(t, "hostile")
	fill := func(b *wasmhost.Backend) {
		for i := range 4 {
			apply(t, b, storage.Put([]byte{byte(i)}, make([]byte, 256<<10)))
		}
	}
	around := map[string]func(){}
	for name, o := range map[string]wasmhost.Options{"interruptible": quiet, "trusted": trusted} {
		m := load(t, r, binary, o)
		open := func(config string) *wasmhost.Backend {
			b, err := m.Open(ctx, []byte(config))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		around[name+"/closed"] = func() {
			b := open("")
			fill(b)
			if err := b.Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
		around[name+"/lost"] = func() {
			b := open("")
			fill(b)
			if _, err := get(b, "!call:trap"); !errors.Is(err, storage.ErrUnavailable) {
				t.Fatal(err)
			}
			// It is not closed: whoever has a broken backend may forget it.
		}
		around[name+"/exited"] = func() {
			b := open("")
			if _, err := get(b, "!call:exit0"); !errors.Is(err, storage.ErrUnavailable) {
				t.Fatal(err)
			}
			if err := b.Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
		around[name+"/never opened"] = func() {
			if _, err := m.Open(ctx, []byte(`"!open:trap"`)); err == nil {
				t.Fatal("it opened")
			}
		}
		around[name+"/loaded"] = func() {
			m, err := r.Load(ctx, binary, o)
			if err != nil {
				t.Fatal(err)
			}
			b, err := m.Open(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(b.Close(ctx), m.Close(ctx)); err != nil {
				t.Fatal(err)
			}
		}
		around[name+"/refused"] = func() {
			if _, err := r.Load(ctx, minimal().without("plinth_call").bytes(), o); err == nil {
				t.Fatal("it was loaded")
			}
		}
	}
	around["a runtime"] = func() {
		r, err := wasmhost.NewRuntime(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Close(ctx), r.Close(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	for name, once := range around {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				once()
			}
			before := measure(t)
			for range 200 {
				once()
			}
			if err := measure(t).grown(before); err != nil {
				t.Errorf("after 200 times: %v", err)
			}
		})
	}
}

// A guest that takes all the memory that it can get gets no more than its limit,
// and its own answer is that there is no space.
func TestMemoryLimit(t *testing.T) {
	b := openGuest(t, "kv", "", wasmhost.Options{Name: "kv", Memory: 32 << 20})
	before := measure(t)
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		_, err = b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put(fmt.Appendf(nil, "%d", n), make([]byte, 200<<10))}})
	}
	if !errors.Is(err, storage.ErrNoSpace) || storage.AsError(err).Unknown || n < 100 || n > 160 {
		t.Errorf("after %d values of 200 KiB: %v", n, err)
	}
	if after := measure(t); after.resident > before.resident+48<<20 {
		t.Errorf("the host has grown by %d MiB", (after.resident-before.resident)>>20)
	}
	for i := range n - 1 { // it goes on, with all that it has
		if it, err := get(b, strconv.Itoa(i)); err != nil || len(it.Value) != 200<<10 {
			t.Fatalf("key %d: %v", i, err)
		}
	}
	apply(t, b, storage.Delete([]byte("0")))
	apply(t, b, storage.Put([]byte("again"), make([]byte, 200<<10)))
}
