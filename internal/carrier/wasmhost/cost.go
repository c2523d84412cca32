package wasmhost

import "github.com/plinthkv/plinth/storage"

// cost estimates the most memory that compiling a module may need, from the counts of its
// parts. wazero compiles without bounds of its own, and its need is sometimes a product of
// two numbers of the module, each of which is small. The factors were measured with the
// worst module of each kind.
type cost struct {
	declared int64 // bytes, for the whole module
	function int64 // bytes, for the function that takes most
	work     int64 // ns
	arity    int64 // of the type with the most parameters and results
}

const (
	// mostMemory and mostWork are what compiling a module may take. The memory plugin, of
	// 4 MB, is estimated to take 40 MB and 13 s, and takes 2.
	mostMemory = 2 << 30
	// mostDeclared bounds the parts that every process decodes when it loads the module, even
	// if another one compiles it.
	mostDeclared = 128 << 20
	mostWork     = 100e9
	// mostArity is how many parameters and results a type may have: as in browsers.
	mostArity = 1000
)

// Bytes for each part that a section has, by the section.
var partBytes = [...]int64{1: 300, sectionImport: 500, 3: 300, sectionTable: 100, 5: 100, 6: 170, 7: 120, 9: 60, sectionCode: 0, 11: 75}

// section notes n parts of a section.
func (c *cost) section(id byte, n uint32) {
	if int(id) < len(partBytes) {
		c.declared += partBytes[id] * int64(n)
		c.work += 4000 * int64(n)
	}
}

// signature notes the parameters and results of a type.
func (c *cost) signature(n uint64) {
	c.arity = max(c.arity, int64(min(n, mostArity+1)))
	c.declared += 110 * int64(min(n, mostArity+1))
	c.work += 2500 * int64(min(n, mostArity+1))
}

// body notes a function: how long it is, its locals, and the calls and branches in it.
func (c *cost) body(bytes int, locals uint64, calls, branches int) {
	const most = 1 << 31 // below, nothing overflows
	l, b := int64(min(locals, most))+c.arity, int64(min(branches, most>>8))
	values := (min(int64(calls), most) + b) * c.arity
	variables := saturating(l, b+1) // each may have another value after each branch
	c.declared = min(c.declared+10*l, 1<<60)
	c.function = max(c.function, min(1000*int64(bytes)+300*values+min(variables, 1<<50)*150, 1<<60))
	c.work = min(c.work+2000*int64(bytes)+600*values+saturating(b, b)*18+min(variables, 1<<50)*1300, 1<<60)
}

// saturating returns a × b, or a number larger than any limit.
func saturating(a, b int64) int64 {
	if a > 0 && b > (1<<55)/a {
		return 1 << 55
	}
	return a * b
}

// check refuses what would take too much.
func (c *cost) check() error {
	switch total := c.declared + c.function; {
	case c.arity > mostArity:
		return storage.LimitError(storage.InvalidArgument, "parameters and results of a type of function", mostArity, c.arity)
	case c.declared > mostDeclared:
		return storage.LimitError(storage.InvalidArgument, "estimated bytes of memory to decode it", mostDeclared, c.declared)
	case total > mostMemory:
		return storage.LimitError(storage.InvalidArgument, "estimated bytes of memory to compile it", mostMemory, total)
	case c.work > mostWork:
		return storage.LimitError(storage.InvalidArgument, "estimated nanoseconds to compile it", mostWork, c.work)
	}
	return nil
}
