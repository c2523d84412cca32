package wasmhost

import (
	"encoding/binary"
	"math"

	"github.com/plinthkv/plinth/storage"
)

// This file reads the little of the WebAssembly binary format that guard.go
// needs. A module is hostile until it is compiled: every read is checked, and
// after the first fault a reader gives zeros and stays where it is.

// The sections of a module that are more than passed over.
const (
	sectionCustom = 0
	sectionImport = 2
	sectionTable  = 4
	sectionStart  = 8
	sectionCode   = 10

	sectionDataCount = 12
	sectionTag       = 13
)

// wasmReader reads from b.
type wasmReader struct {
	b   []byte
	i   int
	bad bool
	// feature is the unsupported feature behind the first fault, or empty if unknown.
	feature string
	// branches is how many places of the instructions passed over the flow of
	// control splits or joins at, calls how many of them are calls; locals is how many
	// a body declares.
	branches, calls int
	locals          uint64
}

func (r *wasmReader) done() bool { return r.bad || r.i >= len(r.b) }

func (r *wasmReader) fail() { r.bad, r.i = true, len(r.b) }

// refuse fails because of a feature, which is empty if it is unknown.
func (r *wasmReader) refuse(feature string) {
	if !r.bad {
		r.feature = feature
	}
	r.fail()
}

func (r *wasmReader) byte() byte {
	if r.i >= len(r.b) {
		r.fail()
		return 0
	}
	r.i++
	return r.b[r.i-1]
}

// u32 reads a LEB128 of at most 5 bytes.
func (r *wasmReader) u32() uint32 {
	v, n := binary.Uvarint(r.b[r.i:min(r.i+5, len(r.b))])
	if n <= 0 || v > math.MaxUint32 {
		r.fail()
		return 0
	}
	r.i += n
	return uint32(v)
}

// leb passes over a number of at most n bytes.
func (r *wasmReader) leb(n int) {
	for ; n > 0; n-- {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail()
}

// skip passes over n bytes, and gives them.
func (r *wasmReader) skip(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)-r.i) {
		r.fail()
		return nil
	}
	r.i += int(n)
	return r.b[r.i-int(n) : r.i]
}

// sized returns the next part of r that has its length before it.
func (r *wasmReader) sized() *wasmReader { return &wasmReader{b: r.skip(r.u32())} }

// each passes over a vector, part by part.
func (r *wasmReader) each(part func()) {
	for n := r.u32(); n > 0 && !r.bad; n-- {
		part()
	}
}

// whole reports whether r was read to its end, and not beyond.
func (r *wasmReader) whole(section string) error {
	if r.feature != "" {
		return unsupported("the "+section+" section", r.feature)
	}
	if r.bad || r.i < len(r.b) {
		return unreadableModule("the %s section is truncated, too long, or uses an unknown feature", section)
	}
	return nil
}

// unsupported returns the error of a part of a module that uses a feature.
func unsupported(part, feature string) error {
	return storage.Errorf(storage.InvalidArgument, "%s uses %s, which Plinth does not support", part, feature)
}

func unreadableModule(what string, args ...any) error {
	return storage.Errorf(storage.InvalidArgument, "invalid module: "+what, args...)
}

var sectionNames = [...]string{1: "type", 3: "function", 5: "memory", 6: "global", 7: "export", 8: "start", 9: "element", 11: "data", 12: "data count"}

// section passes over a section that stays as it is.
func (r *wasmReader) section(id byte, c *cost) error {
	switch id {
	case 1:
		r.each(func() {
			if form := r.byte(); form != 0x60 { // a function's
				r.refuse(typeProposal(form))
			}
			params := r.valueTypes()
			results := r.valueTypes()
			c.signature(uint64(params) + uint64(results))
		})
	case 3:
		r.each(func() { r.leb(5) })
	case 5:
		if peek := *r; peek.u32() > 1 {
			r.refuse("more than one memory (the multi-memory proposal)")
		}
		r.each(func() { r.limits() })
	case 6:
		r.each(func() { r.valueType(); r.byte(); r.expression() })
	case 7:
		r.each(func() { r.sized(); r.byte(); r.leb(5) })
	case sectionStart, sectionDataCount:
		r.leb(5)
	case 9:
		r.each(func() { c.section(id, r.element()) })
	case 11:
		r.each(r.data)
	case sectionTag:
		return unsupported("the module", proposal(0x06))
	default:
		return unreadableModule("unknown section %d", id)
	}
	return r.whole(sectionNames[id])
}

// limits returns those of a table or memory; without a maximum, the largest there is.
func (r *wasmReader) limits() (least, most uint32) {
	flags := r.byte()
	least, most = r.u32(), math.MaxUint32
	switch flags {
	case 0:
	case 1:
		most = r.u32()
	case 2, 3:
		r.refuse("a shared memory (the threads proposal)")
	case 4, 5, 6, 7:
		r.refuse("64-bit addresses (the memory64 proposal)")
	case 8, 9, 10, 11, 12, 13, 14, 15:
		r.refuse("a page size of its own (the custom-page-sizes proposal)")
	default:
		r.fail()
	}
	return least, most
}

// valueType passes over the type of a value, and refuses one beyond WebAssembly 2.0.
func (r *wasmReader) valueType() byte {
	t := r.byte()
	if feature := typeProposal(t); feature != "" {
		r.refuse(feature)
	}
	return t
}

// valueTypes passes over a vector of types, and returns how many there are.
func (r *wasmReader) valueTypes() uint32 {
	n := r.u32()
	for _, t := range r.skip(n) {
		if feature := typeProposal(t); feature != "" {
			r.refuse(feature)
		}
	}
	return n
}

// expression passes over one that gives a constant, to its end.
func (r *wasmReader) expression() {
	for !r.done() && r.b[r.i] != 0x0B {
		r.instruction()
	}
	r.byte()
}

// element passes over one part of the element section, of eight forms, and counts what
// is in it.
func (r *wasmReader) element() (items uint32) {
	flags := r.u32()
	if flags > 7 {
		r.fail()
	}
	if flags&1 == 0 { // active: where it goes
		if flags&2 != 0 {
			r.leb(5)
		}
		r.expression()
	}
	if flags&3 != 0 {
		r.byte() // of what kind or type
	}
	one := func() { r.leb(5) }
	if flags&4 != 0 {
		one = r.expression
	}
	r.each(func() { items++; one() })
	return items
}

// data passes over one part of the data section, of three forms.
func (r *wasmReader) data() {
	switch r.u32() {
	case 0:
		r.expression()
	case 1:
	case 2:
		r.leb(5)
		r.expression()
	default:
		r.fail()
	}
	r.skip(r.u32())
}
