package wasmhost

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/plinthkv/plinth/abi"
)

// functionNames returns the names of a module's functions, by their numbers, from its
// custom section "name". It returns what can be read of it.
func functionNames(module []byte) map[uint32]string {
	names := map[uint32]string{}
	for b := nameReader(module[8:]); len(b) > 0; {
		id := b.byte()
		section := nameReader(b.sized())
		if id != sectionCustom || string(section.sized()) != "name" {
			continue
		}
		for len(section) > 0 {
			const functions = 1
			kind := section.byte()
			part := nameReader(section.sized())
			if kind != functions {
				continue
			}
			for n := part.number(); n > 0 && len(part) > 0; n-- {
				number := part.number()
				names[uint32(number)] = string(part.sized())
			}
		}
	}
	return names
}

// nameReader holds what is left to read. It is empty after whatever cannot be read.
type nameReader []byte

func (r *nameReader) byte() (c byte) {
	if len(*r) > 0 {
		c, *r = (*r)[0], (*r)[1:]
	}
	return c
}

func (r *nameReader) number() uint64 {
	v, n := binary.Uvarint(*r)
	if n <= 0 {
		*r = nil
		return 0
	}
	*r = (*r)[n:]
	return v
}

func (r *nameReader) sized() []byte {
	n := r.number()
	if n > uint64(len(*r)) {
		*r = nil
		return nil
	}
	v := (*r)[:n]
	*r = (*r)[n:]
	return v
}

// stack says where in the guest a trap happened: the innermost function first, by its name
// if the module has names. Functions that repeat are said once. With shim, the outermost one
// is the host's.
func (m *Module) stack(err error, shim bool) string {
	_, text, found := strings.Cut(err.Error(), "wasm stack trace:\n")
	if !found {
		return ""
	}
	const most = 16
	var frames []string
	last, times := "", 0
	flush := func() {
		if times > 1 {
			last += fmt.Sprintf(" (%d times)", times)
		}
		if times > 0 {
			frames = append(frames, last)
		}
	}
	text, _, cut := strings.Cut(strings.TrimSpace(text), "\n\t... ")
	lines := strings.Split(text, "\n")
	if shim && !cut && len(lines) > 1 {
		lines = lines[:len(lines)-1]
	}
	for _, line := range lines {
		name := m.function(strings.TrimSpace(line))
		if name == last {
			times++
			continue
		}
		flush()
		if last, times = name, 1; len(frames) == most {
			return "; in the guest: " + strings.Join(frames, " < ") + " < …"
		}
	}
	flush()
	if cut {
		frames = append(frames, "…")
	}
	return "; in the guest: " + strings.Join(frames, " < ")
}

// function returns the name of what a line of a stack shows, such as ".$31(i32) i64".
func (m *Module) function(line string) string {
	const longest = 120
	shown, _, _ := strings.Cut(line, "(")
	_, number, numbered := strings.Cut(shown, "$")
	if n, err := strconv.ParseUint(number, 10, 32); numbered && err == nil {
		if name := m.names[uint32(n)]; name != "" {
			shown = name
		}
	}
	return abi.Printable(strings.TrimPrefix(shown[:min(len(shown), longest)], "."))
}
