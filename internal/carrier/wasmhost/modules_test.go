package wasmhost_test

import (
	"encoding/binary"
	"slices"
)

// wasm is a module written down here, section by section: what a compiler would
// not write.
type wasm struct {
	imports []wasmImport
	funcs   []wasmFunc
	memory  []byte // limits; nil if none
	tables  []byte // the section's content; nil if none
	elems   []byte // the section that fills them, likewise
	start   string // the export that is the start function
	hidden  []string
	tail    []byte // appended as it is
}

type wasmImport struct {
	module, name string
	kind         byte
	desc         []byte // of a function its type's number, below 0x80
}

type wasmFunc struct {
	name            string
	params, results string // of each a letter: i is i32, I is i64
	body            []byte // without its end
}

// Instructions.
var (
	loopForever = []byte{0x03, 0x40, 0x0C, 0, 0x0B} // loop br 0 end
	unreachable = []byte{0x00}
	zero64      = []byte{0x42, 0}
)

// minimal is a guest that does nothing, and may be loaded and opened.
func minimal() wasm {
	return wasm{
		memory: []byte{0, 1},
		funcs: []wasmFunc{
			{name: "plinth_abi_v1"},
			{"plinth_buffer", "i", "I", append([]byte{0x42}, leb64(1024<<32|60000)...)},
			{"plinth_open", "i", "I", zero64},
			{"plinth_call", "i", "I", zero64},
			{"plinth_close", "", "I", zero64},
		},
	}
}

// with is w with other functions in place of those of their names, or in addition.
func (w wasm) with(funcs ...wasmFunc) wasm {
	for _, f := range funcs {
		w = w.without(f.name)
		w.funcs = append(w.funcs, f)
	}
	return w
}

func (w wasm) without(name string) wasm {
	w.funcs = slices.DeleteFunc(slices.Clone(w.funcs), func(f wasmFunc) bool { return f.name == name })
	return w
}

func (w wasm) importing(i wasmImport) wasm {
	w.imports = append(slices.Clip(w.imports), i)
	return w
}

// bytes is the module. Type n is that of function n.
func (w wasm) bytes() []byte {
	var types, functions, exports, code [][]byte
	functionImports := 0
	for _, i := range w.imports {
		if i.kind == 0 {
			functionImports++
		}
	}
	var imports [][]byte
	for _, i := range w.imports {
		imports = append(imports, slices.Concat(sizedText(i.module), sizedText(i.name), []byte{i.kind}, i.desc))
	}
	if w.memory != nil && !slices.Contains(w.hidden, "memory") {
		exports = append(exports, append(sizedText("memory"), 2, 0))
	}
	var start []byte
	for n, f := range w.funcs {
		types = append(types, slices.Concat([]byte{0x60}, valueTypes(f.params), valueTypes(f.results)))
		functions = append(functions, leb(n))
		index := leb(functionImports + n)
		if !slices.Contains(w.hidden, f.name) {
			exports = append(exports, slices.Concat(sizedText(f.name), []byte{0}, index))
		}
		if f.name == w.start {
			start = index
		}
		code = append(code, sized(slices.Concat([]byte{0}, f.body, []byte{0x0B})))
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, content []byte) {
		if content != nil {
			out = append(append(out, id), sized(content)...)
		}
	}
	section(1, vector(types))
	section(2, vector(imports))
	section(3, vector(functions))
	section(4, w.tables)
	if w.memory != nil {
		section(5, vector([][]byte{w.memory}))
	}
	section(7, vector(exports))
	section(8, start)
	section(9, w.elems)
	section(10, vector(code))
	return append(out, w.tail...)
}

func vector(parts [][]byte) []byte {
	if parts == nil {
		return nil
	}
	return append(leb(len(parts)), slices.Concat(parts...)...)
}

func valueTypes(letters string) []byte {
	b := leb(len(letters))
	for _, l := range letters {
		b = append(b, map[rune]byte{'i': 0x7F, 'I': 0x7E, 'f': 0x7D}[l])
	}
	return b
}

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// leb64 is a signed number: a positive one here.
func leb64(n uint64) []byte {
	var b []byte
	for ; n >= 0x40; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func sized(b []byte) []byte { return append(leb(len(b)), b...) }

func sizedText(s string) []byte { return sized([]byte(s)) }
