package wasmhost

import (
	"encoding/binary"
	"fmt"

	"github.com/plinthkv/plinth/storage"
)

// wazero leaves some things without bound, which are built into a module here, or
// checked, before it is compiled.
//
// Tables live on the host's heap, outside of the limit of linear memory, and
// table.grow accepts any number: guarded tables have a maximum.
//
// wazero looks whether a guest is to be interrupted where a loop begins, and
// nowhere else. Functions that call each other twice, forty deep, run for hours
// without a loop, and the whole process waits for them in its next garbage
// collection. So functions of an interruptible guest that can take long get an
// empty loop at their beginning. Those that begin with one already, as those of
// Go do, and small ones that call nothing stay as they are. Host functions and
// operations on a whole memory, which cannot be interrupted, get one now and then.
//
// wazero compiles without bounds: see cost.
//
// wazero allocates room for as many parts as a module declares, before it reads the
// first: a file of twenty bytes can demand all memory. So every count is verified here.
// Custom sections, which are not needed, are left out.

const (
	// maxTable is the most entries of all tables of an instance, 8 bytes each.
	maxTable = 1 << 20
	// smallBody is a body that may run without a look, in bytes.
	smallBody = 256
	// slowRun is how many host functions and operations on a whole memory may
	// stand in a body without a look between them.
	slowRun = 16
)

// look is an empty loop: block type none, end.
var look = []byte{0x03, 0x40, 0x0B}

// guard returns the module with its bounds built in. If costed, or if interruptible, it
// refuses a module that would need too much memory to compile. Errors are InvalidArgument.
func guard(module []byte, interruptible, costed bool) ([]byte, error) {
	out := make([]byte, 0, len(module)+len(module)/32+64)
	out = append(out, module[:8]...)
	r := wasmReader{b: module, i: 8}
	imported := uint32(0)
	c := &cost{}
	for !r.done() {
		at := r.i
		id := r.byte()
		s := r.sized()
		if r.bad {
			break
		}
		var body []byte
		var err error
		if id != sectionCustom && id != sectionStart && id != sectionDataCount {
			peek := *s
			c.section(id, peek.u32())
		}
		switch id {
		case sectionCustom:
			continue
		case sectionImport:
			imported, err = checkKinds(s)
		case sectionTable:
			body, err = boundTables(s)
		case sectionCode:
			body, err = checkCode(s, imported, interruptible, costed, c)
		default:
			err = s.section(id, c)
		}
		if err == nil && (interruptible || costed) {
			err = c.check()
		}
		if err != nil {
			return nil, err
		}
		if body == nil {
			out = append(out, module[at:r.i]...)
			continue
		}
		out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
	}
	if r.bad {
		return nil, unreadableModule("truncated section")
	}
	return out, nil
}

// checkKinds refuses imports of tables, globals and tags. Which functions may be
// imported is checked on the compiled module, and so is memory. The answer is how
// many functions there are: they are numbered first.
func checkKinds(r *wasmReader) (functions uint32, err error) {
	names := map[byte]string{1: "table", 3: "global", 4: "tag"}
	for n := r.u32(); n > 0 && !r.bad; n-- {
		module, name, kind := r.sized().b, r.sized().b, r.byte()
		switch {
		case r.bad:
		case names[kind] != "":
			return 0, storage.Errorf(storage.InvalidArgument, "the module imports the %s %.60q.%.60q, which is not supported: only functions can be imported",
				names[kind], module, name)
		case kind == 0:
			r.leb(5)
			functions++
		case kind == 2:
			r.limits()
		default:
			r.fail()
		}
	}
	return functions, r.whole("import")
}

// boundTables returns the section with a maximum for every table: together they have at
// most maxTable entries.
func boundTables(r *wasmReader) ([]byte, error) {
	type table struct {
		element   byte
		min, most uint32
	}
	var tables []table
	total := uint64(0)
	for n := r.u32(); n > 0 && !r.bad; n-- {
		t := table{element: r.valueType()}
		t.min, t.most = r.limits()
		tables = append(tables, t)
		total += uint64(t.min)
	}
	if err := r.whole("table"); err != nil {
		return nil, err
	}
	if total > maxTable {
		return nil, storage.LimitError(storage.InvalidArgument, "table entries", maxTable, int64(min(total, 1<<62)))
	}
	room := uint32((maxTable - total) / uint64(max(len(tables), 1)))
	out := binary.AppendUvarint(nil, uint64(len(tables)))
	for _, t := range tables {
		out = append(out, t.element, 1)
		out = binary.AppendUvarint(out, uint64(t.min))
		out = binary.AppendUvarint(out, uint64(min(t.most, t.min+room)))
	}
	return out, nil
}

// checkCode returns the section of all functions' bodies with looks, or as it is.
func checkCode(r *wasmReader, imported uint32, interruptible, costed bool, c *cost) ([]byte, error) {
	n := r.u32()
	out := binary.AppendUvarint(make([]byte, 0, len(r.b)+len(r.b)/32), uint64(n))
	var body []byte
	for i := uint32(0); i < n && !r.bad; i++ {
		b := r.sized()
		if !interruptible && !costed {
			continue
		}
		if body = withLooks(body[:0], b, imported); b.bad {
			if b.feature != "" {
				return nil, unsupported(fmt.Sprintf("function %d", imported+i), b.feature)
			}
			return nil, unreadableModule("function %d has a truncated or unknown instruction", imported+i)
		}
		if c.body(len(b.b), b.locals, b.calls, b.branches); c.check() != nil {
			return nil, c.check()
		}
		out = append(binary.AppendUvarint(out, uint64(len(body))), body...)
	}
	if err := r.whole("code"); err != nil || !interruptible {
		return nil, err
	}
	return out, nil
}

// withLooks appends a body to dst, with an empty loop at its beginning if it needs one, and
// others between slow operations.
func withLooks(dst []byte, r *wasmReader, imported uint32) []byte {
	for n := r.u32(); n > 0 && !r.bad; n-- { // locals: how many, of what type
		r.locals += uint64(r.u32())
		r.valueType()
	}
	dst = append(dst, r.b[:r.i]...)
	start := len(dst)
	straight, looks := true, false // all so far is always done; it begins a loop
	long := len(r.b)-r.i > smallBody
	slow := 0
	for !r.done() {
		at := r.i
		switch kind, callee := r.instruction(); kind {
		case opLoop:
			looks = looks || straight
		case opLeaves:
			straight = false
		case opCall, opCallAny, opBulk:
			straight, long = straight && kind == opBulk, true
			if kind == opCall && callee >= imported {
				break // it looks itself, if it is long
			}
			if slow++; slow == slowRun {
				dst = append(dst, look...)
				slow = 0
			}
		}
		dst = append(dst, r.b[at:r.i]...)
	}
	if long && !looks {
		dst = append(dst, look...)
		copy(dst[start+len(look):], dst[start:])
		copy(dst[start:], look)
	}
	return dst
}
