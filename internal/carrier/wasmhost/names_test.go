package wasmhost

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// sectioned is a module with a custom section.
func sectioned(name string, content []byte) []byte {
	text := func(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }
	body := slices.Concat(text(name), content)
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"), []byte{sectionCustom}, text(string(body)))
}

// The names of functions are read as far as they can be, whatever is in the section.
func TestFunctionNames(t *testing.T) {
	whole := []byte{0, 2, 1, 'm', 1, 12, 2, 3, 4, 'o', 'p', 'e', 'n', 7, 3, 'g', 'e', 't'}
	for _, c := range []struct {
		what   string
		module []byte
		want   map[uint32]string
	}{
		{"a module without one", []byte("\x00asm\x01\x00\x00\x00"), map[uint32]string{}},
		{"another section", sectioned("producers", whole), map[uint32]string{}},
		{"names", sectioned("name", whole), map[uint32]string{3: "open", 7: "get"}},
		{"names that are cut", sectioned("name", whole[:len(whole)-1]), map[uint32]string{}},
		{"a count beyond the names", sectioned("name", []byte{1, 6, 100, 3, 3, 'g', 'e', 't'}), map[uint32]string{3: "get"}},
	} {
		got := functionNames(c.module)
		if len(got) != len(c.want) || got[3] != c.want[3] || got[7] != c.want[7] {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func FuzzFunctionNames(f *testing.F) {
	f.Add([]byte{0, 2, 1, 'm', 1, 12, 2, 3, 4, 'o', 'p', 'e', 'n', 7, 3, 'g', 'e', 't'})
	f.Fuzz(func(t *testing.T, content []byte) { functionNames(sectioned("name", content)) })
}

// A trap is reported with the functions that it happened in, on one line.
func TestStack(t *testing.T) {
	m := &Module{names: map[uint32]string{31: "act", 7: "get\x1b[2J"}}
	for _, c := range []struct {
		trap string
		shim bool
		want string
	}{
		{"wasm error: unreachable", false, ""},
		{"wasm error: unreachable\nwasm stack trace:\n\t.$31(i32) i64\n\t.$9(i32,i64) i64\n\t.$3(i32) i64", true, "; in the guest: act < $9"},
		{"x\nwasm stack trace:\n\t.$31(i32) i64\n\t.$31(i32) i64\n\t.$31(i32) i64\n\t.main()", false, "; in the guest: act (3 times) < main"},
		{"x\nwasm stack trace:\n\t.$31(i32) i64\n\t.$31(i32) i64\n\t... maybe followed by omitted frames", true, "; in the guest: act (2 times) < …"},
	} {
		if got := m.stack(errors.New(c.trap), c.shim); got != c.want {
			t.Errorf("%q: %q, want %q", c.trap, got, c.want)
		}
	}
	if got := m.stack(errors.New("wasm stack trace:\n\t.$7()"), false); strings.ContainsAny(got, "\x1b") {
		t.Errorf("%q", got)
	}
	var deep strings.Builder
	for i := range 100 {
		deep.WriteString("\t.f" + strings.Repeat("x", i%2+1) + "()\n")
	}
	if got := m.stack(errors.New("wasm stack trace:\n"+deep.String()), false); strings.Count(got, "<") != 16 || !strings.HasSuffix(got, "…") {
		t.Errorf("%q", got)
	}
}
