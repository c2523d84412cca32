package wasmhost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// What cannot be a plugin is refused before any of its code runs, by an error
// that says what is missing or forbidden.
func TestLoadRefuses(t *testing.T) {
	i32, i64 := byte(0x7F), byte(0x7E)
	whole := minimal().bytes()
	for _, c := range []struct {
		name   string
		binary []byte
		o      wasmhost.Options
		want   string
	}{
		{"nothing", nil, wasmhost.Options{}, "not a WebAssembly module: it does not begin with the bytes 00 61 73 6d"},
		{"a few bytes", []byte("\x00as"), wasmhost.Options{}, "not a WebAssembly module: it does not begin with the bytes 00 61 73 6d"},
		{"a shell script", []byte("#!/bin/sh\nexit"), wasmhost.Options{}, "not a WebAssembly module: it does not begin with the bytes 00 61 73 6d"},
		{"text format", []byte("(module)"), wasmhost.Options{}, "not a WebAssembly module: it does not begin with the bytes 00 61 73 6d"},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00"), wasmhost.Options{}, "WebAssembly components are not supported (version 0d 00 01 00): build a core module (for example wasm32-wasip1)"},
		{"an empty module", []byte("\x00asm\x01\x00\x00\x00"), wasmhost.Options{}, "not a Plinth plugin: the module does not export plinth_abi_v1"},
		{"a section that is cut", whole[:len(whole)-3], wasmhost.Options{}, "invalid module: truncated section"},
		{"a section of 4 GiB", append(bytes.Clone(whole[:8]), 10, 0xff, 0xff, 0xff, 0xff, 0x0f), wasmhost.Options{}, "invalid module: truncated section"},
		{"a section of no length", append(bytes.Clone(whole[:8]), 1), wasmhost.Options{}, "invalid module: truncated section"},
		{"a type of 2³¹ parameters", append(bytes.Clone(whole[:8]), 1, 7, 1, 0x60, 0x80, 0x80, 0x80, 0x80, 0x08), wasmhost.Options{}, "invalid module: the type section is truncated, too long, or uses an unknown feature"},
		{"4,294,967,295 functions", append(bytes.Clone(whole[:8]), 3, 5, 0xff, 0xff, 0xff, 0xff, 0x0f), wasmhost.Options{}, "invalid module: the function section is truncated, too long, or uses an unknown feature"},
		{"4,294,967,295 bytes of data", append(bytes.Clone(whole[:8]), 11, 10, 1, 0, 0x41, 0, 0x0B, 0xff, 0xff, 0xff, 0xff, 0x0f), wasmhost.Options{}, "invalid module: the data section is truncated, too long, or uses an unknown feature"},
		{"4,294,967,295 exports", append(bytes.Clone(whole[:8]), 7, 5, 0xff, 0xff, 0xff, 0xff, 0x0f), wasmhost.Options{}, "invalid module: the export section is truncated, too long, or uses an unknown feature"},
		{"exceptions", append(bytes.Clone(whole[:8]), 13, 1, 0), wasmhost.Options{}, "the module uses exceptions (the exception-handling proposal), which Plinth does not support"},
		{"code that takes days to compile", minimal().with(wasmFunc{"plinth_close", "", "I", append(bytes.Repeat([]byte{0x02, 0x40, 0x0B}, 100_001), zero64...)}).bytes(), wasmhost.Options{}, "invalid argument: estimated nanoseconds to compile it is 180983776318, limit is 100000000000"},
		{"a table of branches that is cut", minimal().with(wasmFunc{"plinth_close", "", "I", []byte{0x41, 0, 0x0E, 0xff, 0xff, 0xff, 0xff, 0x0f, 0}}).bytes(), wasmhost.Options{}, "invalid module: function 4 has a truncated or unknown instruction"},
		{"an unknown instruction", minimal().with(wasmFunc{"plinth_close", "", "I", []byte{0xFF, 0, 0}}).bytes(), wasmhost.Options{}, "invalid module: function 4 has a truncated or unknown instruction"},
		{"atomics", minimal().with(wasmFunc{"plinth_close", "", "I", []byte{0xFE, 3, 0}}).bytes(), wasmhost.Options{}, "function 4 uses atomics (the threads proposal), which Plinth does not support"},
		{"tail calls", minimal().with(wasmFunc{"plinth_close", "", "I", []byte{0x12, 0}}).bytes(), wasmhost.Options{}, "function 4 uses tail calls (the tail-call proposal), which Plinth does not support"},
		{"try", minimal().with(wasmFunc{"plinth_close", "", "I", []byte{0x06, 0x40}}).bytes(), wasmhost.Options{}, "function 4 uses exceptions (the exception-handling proposal), which Plinth does not support"},
		{"relaxed vectors", minimal().with(wasmFunc{"plinth_close", "", "I", []byte{0xFD, 0x80, 0x02}}).bytes(), wasmhost.Options{}, "function 4 uses relaxed vector instructions (the relaxed-simd proposal), which Plinth does not support"},
		{"a structure", append(bytes.Clone(whole[:8]), 1, 3, 1, 0x5F, 0), wasmhost.Options{}, "the type section uses garbage-collected types (the gc proposal), which Plinth does not support"},
		{"a group of types", append(bytes.Clone(whole[:8]), 1, 3, 1, 0x4E, 0), wasmhost.Options{}, "the type section uses garbage-collected types (the gc proposal), which Plinth does not support"},
		{"a parameter of any reference", append(bytes.Clone(whole[:8]), 1, 5, 1, 0x60, 1, 0x6E, 0), wasmhost.Options{}, "the type section uses garbage-collected types (the gc proposal), which Plinth does not support"},
		{"a typed parameter", append(bytes.Clone(whole[:8]), 1, 6, 1, 0x60, 1, 0x64, 0, 0), wasmhost.Options{}, "the type section uses typed references (the function-references proposal), which Plinth does not support"},
		{"a type of continuations", append(bytes.Clone(whole[:8]), 1, 3, 1, 0x5D, 0), wasmhost.Options{}, "the type section uses continuations (the stack-switching proposal), which Plinth does not support"},
		{"a switch of stacks", minimal().with(wasmFunc{"plinth_close", "", "I", []byte{0xE3, 0, 0}}).bytes(), wasmhost.Options{}, "function 4 uses continuations (the stack-switching proposal), which Plinth does not support"},
		{"wide arithmetic", minimal().with(wasmFunc{"plinth_close", "", "I", []byte{0xFC, 0x13}}).bytes(), wasmhost.Options{}, "function 4 uses wide arithmetic (the wide-arithmetic proposal), which Plinth does not support"},
		{"a page size", wasm{funcs: minimal().funcs, memory: []byte{8, 1, 0}}.bytes(), wasmhost.Options{}, "the memory section uses a page size of its own (the custom-page-sizes proposal), which Plinth does not support"},
		{"two memories", append(bytes.Clone(whole[:8]), 5, 5, 2, 0, 1, 0, 1), wasmhost.Options{}, "the memory section uses more than one memory (the multi-memory proposal), which Plinth does not support"},
		{"a global of a collected type", append(bytes.Clone(whole[:8]), 6, 6, 1, 0x6C, 0, 0xD0, 0x6C, 0x0B), wasmhost.Options{}, "the global section uses garbage-collected types (the gc proposal), which Plinth does not support"},
		{"a table with an initial value", append(bytes.Clone(whole[:8]), 4, 4, 1, 0x40, 0, 0), wasmhost.Options{}, "the table section uses typed references (the function-references proposal), which Plinth does not support"},
		{"a shared memory", wasm{funcs: minimal().funcs, memory: []byte{3, 1, 2}}.bytes(), wasmhost.Options{}, "the memory section uses a shared memory (the threads proposal), which Plinth does not support"},
		{"a memory of 64 bits", wasm{funcs: minimal().funcs, memory: []byte{4, 1}}.bytes(), wasmhost.Options{}, "the memory section uses 64-bit addresses (the memory64 proposal), which Plinth does not support"},
		{"code that does not type", minimal().with(wasmFunc{"plinth_close", "", "I", nil}).bytes(), wasmhost.Options{}, "compile module: invalid function[4] export[\"plinth_close\"]: not enough results\n\thave ()\n\twant (i64)"},

		{"another version of the ABI", minimal().without("plinth_abi_v1").with(wasmFunc{name: "plinth_abi_v2"}).bytes(), wasmhost.Options{}, `the module speaks ABI "v2", this host speaks v1`},
		{"no marker", minimal().without("plinth_abi_v1").bytes(), wasmhost.Options{}, "not a Plinth plugin: the module does not export plinth_abi_v1"},
		{"a command", minimal().without("plinth_abi_v1").with(wasmFunc{name: "_start"}).bytes(), wasmhost.Options{}, "not a Plinth plugin: the module does not export plinth_abi_v1; it is a command: build Go plugins with -buildmode=c-shared"},
		{"a marker of another type", minimal().with(wasmFunc{"plinth_abi_v1", "i", "", nil}).bytes(), wasmhost.Options{}, "the export plinth_abi_v1 is (i32) → (), it must be () → ()"},
		{"no buffer", minimal().without("plinth_buffer").bytes(), wasmhost.Options{}, "the module does not export plinth_buffer"},
		{"no open", minimal().without("plinth_open").bytes(), wasmhost.Options{}, "the module does not export plinth_open"},
		{"no call", minimal().without("plinth_call").bytes(), wasmhost.Options{}, "the module does not export plinth_call"},
		{"no close", minimal().without("plinth_close").bytes(), wasmhost.Options{}, "the module does not export plinth_close"},
		{"a buffer of another type", minimal().with(wasmFunc{"plinth_buffer", "i", "i", []byte{0x41, 0}}).bytes(), wasmhost.Options{}, "the export plinth_buffer is (i32) → (i32), it must be (i32) → (i64)"},
		{"a get of another type", minimal().with(wasmFunc{"plinth_get", "i", "I", zero64}).bytes(), wasmhost.Options{}, "the export plinth_get is (i32) → (i64), it must be (i32, i64) → (i64)"},
		{"an _initialize of another type", minimal().with(wasmFunc{"_initialize", "f", "", nil}).bytes(), wasmhost.Options{}, "the export _initialize is (f32) → (), it must be () → ()"},

		{"no memory", wasm{funcs: minimal().funcs}.bytes(), wasmhost.Options{}, "the module does not export its memory"},
		{"a memory that is not exported", wasm{funcs: minimal().funcs, memory: []byte{0, 1}, hidden: []string{"memory"}}.bytes(), wasmhost.Options{}, "the module does not export its memory"},
		{"an imported memory", wasm{funcs: minimal().funcs}.importing(wasmImport{"env", "memory", 2, []byte{0, 1}}).bytes(), wasmhost.Options{}, "the module imports a memory; it must export its own"},
		{"more memory than it may have", wasm{funcs: minimal().funcs, memory: append([]byte{0}, leb(100)...)}.bytes(), wasmhost.Options{Memory: 1 << 20}, "limits.memory is 1048576 bytes, but the module starts with more: section memory: min 100 pages (6 Mi) over limit of 16 pages (1 Mi)"},
		{"too large a table", wasm{funcs: minimal().funcs, memory: []byte{0, 1}, tables: append([]byte{1, 0x70, 0}, leb(1<<20+1)...)}.bytes(), wasmhost.Options{}, "invalid argument: table entries is 1048577, limit is 1048576"},
		{"too many tables", wasm{funcs: minimal().funcs, memory: []byte{0, 1}, tables: append([]byte{2, 0x70, 0}, append(leb(1<<20), 0x70, 0, 1)...)}.bytes(), wasmhost.Options{}, "invalid argument: table entries is 1048577, limit is 1048576"},
		{"tables that are cut", wasm{funcs: minimal().funcs, memory: []byte{0, 1}, tables: []byte{2, 0x70, 0, 1}}.bytes(), wasmhost.Options{}, "invalid module: the table section is truncated, too long, or uses an unknown feature"},

		{"a host function that is not there", minimal().importing(wasmImport{"env", "abort", 0, []byte{0}}).bytes(), wasmhost.Options{}, `the module imports "env"."abort", which is not supported: only plinth.log and wasi_snapshot_preview1 without sockets are`},
		{"another host function of ours", minimal().importing(wasmImport{"plinth", "shell", 0, []byte{0}}).bytes(), wasmhost.Options{}, `the module imports "plinth"."shell", which is not supported: only plinth.log and wasi_snapshot_preview1 without sockets are`},
		{"a reserved one", minimal().importing(wasmImport{"plinth", "next_call", 0, []byte{0}}).bytes(), wasmhost.Options{}, "the module imports plinth.next_call, which this version does not provide"},
		{"a socket", minimal().importing(wasmImport{"wasi_snapshot_preview1", "sock_accept", 0, []byte{0}}).bytes(), wasmhost.Options{}, `the module imports "wasi_snapshot_preview1"."sock_accept", which is not supported: only plinth.log and wasi_snapshot_preview1 without sockets are`},
		{"another WASI", minimal().importing(wasmImport{"wasi_unstable", "fd_write", 0, []byte{0}}).bytes(), wasmhost.Options{}, `the module imports "wasi_unstable"."fd_write", which is not supported: only plinth.log and wasi_snapshot_preview1 without sockets are`},
		{"what WASI does not have", minimal().importing(wasmImport{"wasi_snapshot_preview1", "fork", 0, []byte{0}}).bytes(), wasmhost.Options{}, `the module imports "wasi_snapshot_preview1"."fork", which is not supported: only plinth.log and wasi_snapshot_preview1 without sockets are`},
		{"WASI of another type", minimal().importing(wasmImport{"wasi_snapshot_preview1", "fd_write", 0, []byte{0}}).bytes(), wasmhost.Options{}, "the import fd_write is () → (), it must be (i32, i32, i32, i32) → (i32)"},
		{"a log of another type", minimal().importing(wasmImport{"plinth", "log", 0, []byte{0}}).bytes(), wasmhost.Options{}, "the import log is () → (), it must be (i32, i32, i32) → ()"},
		{"a table", minimal().importing(wasmImport{"env", "table", 1, []byte{0x70, 0, 1}}).bytes(), wasmhost.Options{}, `the module imports the table "env"."table", which is not supported: only functions can be imported`},
		{"a global", minimal().importing(wasmImport{"env", "stack", 3, []byte{i32, 0}}).bytes(), wasmhost.Options{}, `the module imports the global "env"."stack", which is not supported: only functions can be imported`},
		{"a tag", minimal().importing(wasmImport{"env", "oops", 4, []byte{0, 0}}).bytes(), wasmhost.Options{}, `the module imports the tag "env"."oops", which is not supported: only functions can be imported`},
		{"something unheard of", minimal().importing(wasmImport{"env", "x", 9, []byte{i64}}).bytes(), wasmhost.Options{}, "invalid module: the import section is truncated, too long, or uses an unknown feature"},

		{"another digest", whole, wasmhost.Options{SHA256: strings.Repeat("ab", 32)}, "the module's SHA-256 is " + digest(whole) + ", but the configuration requires " + strings.Repeat("ab", 32)},
		{"a digest of another before anything else", []byte("x"), wasmhost.Options{SHA256: digest(whole)}, "the module's SHA-256 is " + digest([]byte("x")) + ", but the configuration requires " + digest(whole)},
		{"too many bytes", append(bytes.Clone(whole), make([]byte, wasmhost.MaxModule)...), wasmhost.Options{}, fmt.Sprintf("size limit exceeded: module bytes is %d, limit is 67108864", 64<<20+len(whole))},

		{"trust without a digest", whole, wasmhost.Options{Trusted: true}, "trust requires sha256"},
		{"trust and a call budget", whole, wasmhost.Options{Trusted: true, SHA256: digest(whole), Call: time.Second}, "trust: trusted cannot be combined with limits.call: trusted modules are not interruptible"},
		{"a negative call budget", whole, wasmhost.Options{Call: -1}, "limits.call must not be negative"},
		{"memory beyond what can be addressed", whole, wasmhost.Options{Memory: 4<<30 + 1}, "invalid argument: memory is 4294967297, limit is 4294967296"},
		{"all memory in the world", whole, wasmhost.Options{Memory: math.MaxUint64}, "invalid argument: memory is 9223372036854775807, limit is 4294967296"},
		{"tiny frames", whole, wasmhost.Options{MaxFrame: 1 << 10}, "max_frame is 1024, it must be between 64 KiB and 1 GiB"},
		{"huge frames", whole, wasmhost.Options{MaxFrame: 1<<30 + 1}, "max_frame is 1073741825, it must be between 64 KiB and 1 GiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRuntime(t)
			c.o.Name = "acme"
			m, err := r.Load(context.Background(), c.binary, c.o)
			if err == nil {
				m.Close(context.Background())
				t.Fatal("it was loaded")
			}
			code := storage.InvalidArgument
			if c.name == "too many bytes" {
				code = storage.SizeLimit
			}
			if got := err.Error(); storage.CodeOf(err) != code || got != "plugin acme: "+c.want {
				t.Errorf("%v: %s\nwant         plugin acme: %s", storage.CodeOf(err), got, c.want)
			}
		})
	}
}

func TestLoadTakes(t *testing.T) {
	table := minimal()
	table.tables = []byte{1, 0x70, 0, 10} // no maximum: one is given
	empty := minimal()
	empty.tables = []byte{0}
	for name, c := range map[string]struct {
		binary []byte
		o      wasmhost.Options
	}{
		"the least":        {minimal().bytes(), wasmhost.Options{}},
		"a digest":         {minimal().bytes(), wasmhost.Options{SHA256: strings.ToUpper(digest(minimal().bytes()))}},
		"trust":            {minimal().bytes(), wasmhost.Options{Trusted: true, SHA256: digest(minimal().bytes())}},
		"a get":            {minimal().with(wasmFunc{"plinth_get", "iI", "I", zero64}).bytes(), wasmhost.Options{}},
		"an _initialize":   {minimal().with(wasmFunc{name: "_initialize"}).bytes(), wasmhost.Options{}},
		"a table":          {table.bytes(), wasmhost.Options{}},
		"an empty section": {empty.bytes(), wasmhost.Options{}},
		"two versions":     {minimal().with(wasmFunc{name: "plinth_abi_v2"}).bytes(), wasmhost.Options{}},
		"all of memory":    {minimal().bytes(), wasmhost.Options{Memory: 4 << 30}},
		"a custom section": {append(minimal().bytes(), 0, 6, 4, 'n', 'o', 't', 'e', 1), wasmhost.Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			m := load(t, newRuntime(t), c.binary, c.o)
			if m.Digest() != digest(c.binary) {
				t.Errorf("digest %s", m.Digest())
			}
			openModule(t, m, "")
		})
	}
}

// The marker, the exports and the imports are all there, and the start is bad.
func TestStartFails(t *testing.T) {
	const name = "the start of the module"
	for _, c := range []struct {
		name string
		w    wasm
		want string
	}{
		{"the start function traps", started(unreachable), name + `: start function[5] export["start"] failed: wasm error: unreachable`},
		{"the start function loops", started(loopForever), name + ": exceeded limits.call (500ms) and was interrupted"},
		{"_initialize traps", minimal().with(wasmFunc{"_initialize", "", "", unreachable}), "_initialize: wasm error: unreachable"},
		{"_initialize loops", minimal().with(wasmFunc{"_initialize", "", "", loopForever}), "_initialize: exceeded limits.call (500ms) and was interrupted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := load(t, newRuntime(t), c.w.bytes(), wasmhost.Options{Name: "acme", Call: 100 * time.Millisecond})
			for range 2 {
				if _, err := m.Open(context.Background(), nil); !errors.Is(err, storage.ErrUnavailable) || err.Error() != "plugin acme: "+c.want {
					t.Errorf("%v, want %s", err, c.want)
				}
			}
		})
	}
}

// started is a guest whose start function does this.
func started(body []byte) wasm {
	w := minimal().with(wasmFunc{"start", "", "", body})
	w.start = "start"
	return w
}

func TestOpenRefuses(t *testing.T) {
	m := load(t, newRuntime(t), committed(t, "kv"), wasmhost.Options{Name: "kv", MaxFrame: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	_, err := m.Open(context.Background(), make([]byte, 1<<19+1))
	if !errors.Is(err, storage.ErrSizeLimit) || err.Error() != "plugin kv: size limit exceeded: configuration bytes is 524289, limit is 524288" {
		t.Errorf("a configuration that no frame holds: %v", err)
	}
	if _, err := m.Open(context.Background(), []byte(`{"max_bytes": 1}`)); !errors.Is(err, storage.ErrInvalidArgument) {
		t.Errorf("a configuration that the guest refuses: %v", err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.Open(gone, nil); !errors.Is(err, storage.ErrCanceled) || !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has left: %v", err)
	}
	openModule(t, m, "")
}
