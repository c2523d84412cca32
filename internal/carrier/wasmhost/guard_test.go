package wasmhost

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
)

// Where a body gets a look, which is an empty loop, 03 40 0B, and where it gets none.
func TestWithLooks(t *testing.T) {
	const imported = 2
	small := bytes.Repeat([]byte{0x01}, 100) // nop
	large := bytes.Repeat([]byte{0x01}, 300)
	empty := []byte{0x03, 0x40, 0x0B}
	fill := []byte{0x41, 0, 0x41, 0, 0x41, 0, 0xFC, 0x0B, 0}
	op := fill[6:]
	for _, c := range []struct {
		name       string
		body, want []byte
	}{
		{"small, calls nothing", small, small},
		{"large", large, join(empty, large)},
		{"calls a function of its own", []byte{0x10, 2}, join(empty, []byte{0x10, 2})},
		{"calls what is in a table", []byte{0x41, 0, 0x11, 0, 0}, join(empty, []byte{0x41, 0, 0x11, 0, 0})},
		{"begins with a loop", []byte{0x03, 0x40, 0x10, 2, 0x0B}, []byte{0x03, 0x40, 0x10, 2, 0x0B}},
		{"a loop after straight code, as Go has it", []byte{0x23, 0, 0x21, 1, 0x02, 0x40, 0x03, 0x40, 0x10, 2, 0x0B, 0x0B}, []byte{0x23, 0, 0x21, 1, 0x02, 0x40, 0x03, 0x40, 0x10, 2, 0x0B, 0x0B}},
		{"a loop that need not be reached", []byte{0x20, 0, 0x0D, 0, 0x03, 0x40, 0x10, 2, 0x0B}, join(empty, []byte{0x20, 0, 0x0D, 0, 0x03, 0x40, 0x10, 2, 0x0B})},
		{"a loop after a call", []byte{0x10, 2, 0x03, 0x40, 0x0B}, join(empty, []byte{0x10, 2, 0x03, 0x40, 0x0B})},
		{"one operation on a memory", fill, join(empty, fill)},
		{"many operations on a memory", slices.Repeat(fill, 33), join(empty,
			slices.Repeat(fill, 15), fill[:6], empty, op, slices.Repeat(fill, 15), fill[:6], empty, op, fill)},
		{"many calls of the host", slices.Repeat([]byte{0x10, 1}, 17), join(empty,
			slices.Repeat([]byte{0x10, 1}, 15), empty, slices.Repeat([]byte{0x10, 1}, 2))},
		{"many calls of its own", slices.Repeat([]byte{0x10, 2}, 17), join(empty, slices.Repeat([]byte{0x10, 2}, 17))},
	} {
		locals := []byte{1, 2, 0x7F} // one group: two i32
		r := &wasmReader{b: join(locals, c.body, []byte{0x0B})}
		if got, want := withLooks(nil, r, imported), join(locals, c.want, []byte{0x0B}); r.bad || !bytes.Equal(got, want) {
			t.Errorf("%s:\n% x, want\n% x", c.name, got, want)
		}
	}
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func TestBoundTables(t *testing.T) {
	for _, c := range []struct {
		name     string
		in, want []byte
	}{
		{"none", []byte{0}, []byte{0}},
		{"without a maximum", []byte{1, 0x70, 0, 10}, []byte{1, 0x70, 1, 10, 0x80, 0x80, 0x40}},
		{"with one", []byte{1, 0x6F, 1, 10, 20}, []byte{1, 0x6F, 1, 10, 20}},
		{"with one that is too large", []byte{1, 0x70, 1, 10, 0xff, 0xff, 0xff, 0xff, 0x0f}, []byte{1, 0x70, 1, 10, 0x80, 0x80, 0x40}},
		{"two", []byte{2, 0x70, 0, 0, 0x70, 1, 1, 1}, []byte{2, 0x70, 1, 0, 0xff, 0xff, 0x1f, 0x70, 1, 1, 1}},
		{"one that is cut", []byte{2, 0x70, 0, 0}, nil},
		{"more than it says", []byte{1, 0x70, 0, 0, 0x70, 0, 0}, nil},
		{"shared", []byte{1, 0x70, 3, 0, 1}, nil},
		{"too large", []byte{1, 0x70, 0, 0x81, 0x80, 0x40}, nil},
		{"many, too large together", []byte{3, 0x70, 0, 0x80, 0x80, 0x20, 0x70, 0, 0x80, 0x80, 0x20, 0x70, 0, 1}, nil},
	} {
		got, err := boundTables(&wasmReader{b: c.in})
		if (err != nil) != (c.want == nil) || !bytes.Equal(got, c.want) {
			t.Errorf("%s: % x, %v, want % x", c.name, got, err, c.want)
		}
	}
}

// What the guard lets through is compiled with it as without it. What it does not
// let through is never handed to wazero, which would make room for whatever it
// says; the guard itself takes no more than a look for every function.
func FuzzGuard(f *testing.F) {
	for _, name := range []string{"kv", "parrot"} {
		module, err := os.ReadFile(filepath.Join("testdata", "guests", name+".wasm"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(module, true)
	}
	f.Add(shimModule(true), true)
	f.Add(shimModule(false), false)
	r := wazero.NewRuntimeWithConfig(context.Background(), wazero.NewRuntimeConfigInterpreter())
	f.Cleanup(func() { r.Close(context.Background()) })
	f.Fuzz(func(t *testing.T, module []byte, interruptible bool) {
		if len(module) < 8 {
			return
		}
		guarded, err := guard(module, interruptible, true)
		if len(guarded) > 4*len(module)+64 {
			t.Fatalf("%d bytes have become %d", len(module), len(guarded))
		}
		if err != nil {
			return
		}
		before, beforeErr := r.CompileModule(context.Background(), module)
		after, afterErr := r.CompileModule(context.Background(), guarded)
		if beforeErr == nil && afterErr != nil {
			t.Errorf("the guarded module cannot be compiled: %v", afterErr)
		}
		for _, m := range []wazero.CompiledModule{before, after} {
			if m != nil {
				m.Close(context.Background())
			}
		}
	})
}
