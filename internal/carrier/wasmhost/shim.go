package wasmhost

import (
	"context"

	"github.com/tetratelabs/wazero"
)

// A shim is a tiny module between the host and an interruptible guest. wazero
// compiles a check into every loop of a guest that is to be interruptible, and
// starts a goroutine for every call into such a module, which costs more than
// the call. The check looks at the module that was called first. So the host
// calls a shim, compiled without checks, whose functions hand on to the guest's:
// no goroutine is needed, the guest's loops look at the shim, and closing the
// shim, which any goroutine may do, interrupts the guest at its next loop.
// docs/adr/0003-interruption.md has the figures.

const (
	withoutGet = iota
	withGet
)

// The shim imports and exports the functions under their own names.
const shimImport = "guest"

// shimModule returns the shim's binary: the module preamble and five sections.
func shimModule(get bool) []byte {
	names := []string{"plinth_call", "plinth_buffer"}
	types := []byte{0, 0} // of each function: 0 is (i32) i64
	if get {
		names, types = append(names, "plinth_get"), append(types, 1) // 1 is (i32, i64) i64
	}
	n := byte(len(names))
	const i32, i64, function = 0x7F, 0x7E, 0x60
	imports, functions, exports, code := []byte{n}, []byte{n}, []byte{n}, []byte{n}
	for i, name := range names {
		imports = append(append(text(imports, shimImport, name), 0x00), types[i])
		functions = append(functions, types[i])
		exports = append(text(exports, name), 0x00, n+byte(i))
		body := []byte{0 /* locals */, 0x20, 0 /* local.get 0 */}
		if types[i] == 1 {
			body = append(body, 0x20, 1)
		}
		body = append(body, 0x10, byte(i) /* call */, 0x0B /* end */)
		code = append(append(code, byte(len(body))), body...)
	}
	module := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range []struct {
		id   byte
		body []byte
	}{
		{1, []byte{2, function, 1, i32, 1, i64, function, 2, i32, i64, 1, i64}},
		{2, imports}, {3, functions}, {7, exports}, {10, code},
	} {
		module = append(append(module, s.id, byte(len(s.body))), s.body...)
	}
	return module
}

// alignTypes has a new wazero runtime number the shim's function types first.
// wazero compares the types of imports by numbers that a runtime gives in the
// order in which it meets them, and a shim, compiled by the one runtime, is
// instantiated in others.
func alignTypes(ctx context.Context, r wazero.Runtime) error {
	c, err := r.CompileModule(ctx, shimModule(true))
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// text appends each of s with its length before it. All here is below 128
// bytes, where a length is one byte.
func text(b []byte, s ...string) []byte {
	for _, t := range s {
		b = append(append(b, byte(len(t))), t...)
	}
	return b
}
