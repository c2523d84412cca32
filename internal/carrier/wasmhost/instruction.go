package wasmhost

// instruction reads one instruction, and returns its kind, and the callee of a call.
func (r *wasmReader) instruction() (k instructionKind, callee uint32) {
	switch op := r.byte(); {
	case op == 0x02: // block
		r.branches++
		r.leb(5)
	case op == 0x03: // loop
		r.branches++
		r.leb(5)
		return opLoop, 0
	case op == 0x04: // if
		r.branches++
		r.leb(5)
		return opLeaves, 0
	case op == 0x0C, op == 0x0D: // br, br_if
		r.branches++
		r.leb(5)
		return opLeaves, 0
	case op == 0x0E: // br_table
		for n := r.u32(); !r.bad; n-- {
			r.branches++
			r.leb(5)
			if n == 0 {
				break
			}
		}
		return opLeaves, 0
	case op == 0x00, op == 0x05, op == 0x0F: // unreachable, else, return
		r.branches++
		return opLeaves, 0
	case op == 0x10: // call
		r.calls++
		return opCall, r.u32()
	case op == 0x11: // call_indirect
		r.calls++
		r.leb(5)
		r.leb(5)
		return opCallAny, 0
	case op == 0x01, op == 0x0B, op == 0x1A, op == 0x1B: // nop, end, drop, select
	case op == 0x1C: // select with types
		r.skip(r.u32())
	case op >= 0x20 && op <= 0x26: // locals, globals, tables
		r.leb(5)
	case op >= 0x28 && op <= 0x3E: // loads and stores
		r.leb(5)
		r.leb(5)
	case op == 0x3F, op == 0x40: // memory.size, memory.grow
		r.byte()
	case op == 0x41: // i32.const
		r.leb(5)
	case op == 0x42: // i64.const
		r.leb(10)
	case op == 0x43: // f32.const
		r.skip(4)
	case op == 0x44: // f64.const
		r.skip(8)
	case op >= 0x45 && op <= 0xC4: // numbers
	case op == 0xD0, op == 0xD2: // ref.null, ref.func
		r.leb(5)
	case op == 0xD1: // ref.is_null
	case op == 0xFC:
		return r.bulk(), 0
	case op == 0xFD:
		r.vector()
	default:
		r.refuse(proposal(op))
	}
	return opPlain, 0
}

// proposal returns the feature beyond WebAssembly 2.0 that an opcode belongs to, or "".
func proposal(op byte) string {
	switch {
	case op >= 0x06 && op <= 0x0A, op == 0x18, op == 0x19, op == 0x1F:
		return exceptions
	case op == 0x12, op == 0x13:
		return "tail calls (the tail-call proposal)"
	case op == 0x14, op == 0x15, op >= 0xD3 && op <= 0xD6:
		return references
	case op >= 0xE0 && op <= 0xE6:
		return continuations
	case op == 0xFB:
		return collected
	case op == 0xFE:
		return atomics
	}
	return ""
}

// typeProposal returns the feature beyond WebAssembly 2.0 that the first byte of a type belongs
// to, or "".
func typeProposal(t byte) string {
	switch {
	case t == 0x40, t == 0x63, t == 0x64: // also of a table with an initial value
		return references
	case t >= 0x4E && t <= 0x50, t == 0x5E, t == 0x5F, t >= 0x6A && t <= 0x6E, t >= 0x71 && t <= 0x73:
		return collected
	case t == 0x69, t == 0x74:
		return exceptions
	case t == 0x5D, t == 0x68, t == 0x75:
		return continuations
	}
	return ""
}

// The features that more than one place names.
const (
	atomics       = "atomics (the threads proposal)"
	collected     = "garbage-collected types (the gc proposal)"
	continuations = "continuations (the stack-switching proposal)"
	exceptions    = "exceptions (the exception-handling proposal)"
	references    = "typed references (the function-references proposal)"
)

// bulk reads the rest of an instruction that begins with 0xFC.
func (r *wasmReader) bulk() instructionKind {
	switch op := r.u32(); {
	case op <= 7: // conversions
		return opPlain
	case op == 9, op == 13, op == 16: // data.drop, elem.drop, table.size
		r.leb(5)
		return opPlain
	case op == 11, op == 15, op == 17: // memory.fill, table.grow, table.fill
		r.leb(5)
	case op == 8, op == 10, op == 12, op == 14: // memory.init and copy, table.init and copy
		r.leb(5)
		r.leb(5)
	case op >= 19 && op <= 22:
		r.refuse("wide arithmetic (the wide-arithmetic proposal)")
	default:
		r.fail()
	}
	r.branches += 2 // a loop
	return opBulk
}

// vector reads the rest of an instruction that begins with 0xFD.
func (r *wasmReader) vector() {
	switch op := r.u32(); {
	case op <= 11, op == 92, op == 93: // loads, store
		r.leb(5)
		r.leb(5)
	case op == 12, op == 13: // v128.const, shuffle
		r.skip(16)
	case op >= 21 && op <= 34: // lanes
		r.byte()
	case op >= 84 && op <= 91: // loads and stores of lanes
		r.leb(5)
		r.leb(5)
		r.byte()
	case op > 255:
		r.refuse("relaxed vector instructions (the relaxed-simd proposal)")
	}
}

// instructionKind says what an instruction means for how long a guest may run.
type instructionKind uint8

const (
	opPlain   instructionKind = iota
	opLeaves                  // the next instruction may be unreachable from here
	opLoop                    // its beginning is where the engine looks whether to go on
	opCall                    // runs a function
	opCallAny                 // runs a function that is not known here
	opBulk                    // its time grows with the size of memory
)
