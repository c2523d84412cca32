package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Node is a part of the configuration that its owner decodes: the settings of a wrapper
// or of a plugin. It is immutable and safe for concurrent use. A nil *Node is a part that
// is not written.
type Node struct {
	v    *Value
	path string // from the root
}

// NewNode returns v as a Node at path, or nil if v is nil.
func NewNode(v *Value, path string) *Node {
	if v == nil {
		return nil
	}
	return &Node{v, path}
}

// ValueOf returns the value of n, or nil if n is nil.
func ValueOf(n *Node) *Value {
	if n == nil {
		return nil
	}
	return n.v
}

// IsEmpty reports whether n has no key, no item and no value.
func (n *Node) IsEmpty() bool {
	return n == nil || n.v == nil || n.v.Kind != Scalar && len(n.v.Entries) == 0 && len(n.v.Items) == 0
}

// Path returns the path of n in the configuration, such as
// stores.default.pipeline[3].cache; it is empty for the root.
func (n *Node) Path() string {
	if n == nil {
		return ""
	}
	return n.path
}

// Pos returns the position of path, relative to n: "max_bytes", "tenants[2].rate", or ""
// for n itself. If path does not exist, it returns the position of the closest existing
// parent. If n is nil, it returns the zero Position.
func (n *Node) Pos(path string) Position {
	if n == nil || n.v == nil {
		return Position{}
	}
	at, _ := n.v.Find(path)
	return at.Where()
}

// Errorf returns an [*Error] about path, relative to n; see [Node.Pos]. Values in the
// message that came from a reference or from the environment are replaced by their
// source, and secrets by [Value.Masked].
func (n *Node) Errorf(path, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	if n == nil || n.v == nil {
		return &Error{Path: path, Message: message}
	}
	return &Error{Pos: n.Pos(path), Path: Below(n.path, path), Message: redact(message, n.v)}
}

// Decode decodes n strictly into the value that into points to, over its current content.
// Unknown and repeated keys, wrong types and bad values are all reported at once, as
// [Errors]; do not use into then. A nil or empty n leaves it unchanged, and a key without
// a value counts as not written.
//
// A field's name is its tag `yaml:"name"`, or else its lower-cased name; a struct tagged
// `yaml:",inline"` shares its parent's keys. Structs, maps, slices and pointers nest. A
// slice is replaced as a whole; a map keeps keys that are not written. Sizes are [Bytes],
// or an integer tagged `yaml:"name,bytes"`; durations are [Duration] or time.Duration; a
// type with UnmarshalText reads any scalar. A string field expects a string: numbers must
// be in quotes.
//
// Decode calls Validate() error of every struct that has it, even if nothing is written
// there. Errors with a method ConfigPath() string — [*FieldError], or the caller's own
// — get the position of that field, each of a joined error for itself.
func (n *Node) Decode(into any) error {
	d := new(Decoder)
	v, path := &Value{}, ""
	if n != nil && n.v != nil {
		v, path = n.v, n.path
	}
	d.Decode(into, v, path)
	return d.Problems.Err()
}

// redact removes the data of every scalar below v that must not be shown from a message
// of another package.
func redact(message string, v *Value) string {
	var hides []hiding
	seen := map[string]bool{}
	v.Walk(func(s *Value) {
		if s.Origin == Document && !s.secret() || strings.TrimSpace(s.Data()) == "" || seen[s.Data()] {
			return
		}
		seen[s.Data()] = true
		quoted := strconv.Quote(s.Data())
		forms := []string{s.Data(), quoted[1 : len(quoted)-1]}
		if s.Pos.Line == 0 { // it may be a list, and a message about one item
			forms = append(forms, strings.Split(s.Data(), ",")...)
		}
		for _, form := range forms {
			if form = strings.TrimSpace(form); form != "" {
				hides = append(hides, hiding{form, s.Show()})
			}
		}
	})
	slices.SortStableFunc(hides, func(a, b hiding) int { return cmp.Compare(len(b.secret), len(a.secret)) })
	return hide(message, hides)
}

// secret reports whether v, of the document, is taken out of messages. Words such as on
// and true, which they are full of, are no secrets.
func (v *Value) secret() bool {
	return v.Masked != "" && !v.Ordinary && len(v.Data()) > 3 && coreType(v.Data()) != coreBool
}

// hiding says what is shown in the place of a secret.
type hiding struct{ secret, shown string }

// hide replaces each secret, the first of them that stands at a place, but not
// inside a longer word: a secret "5" is no reason to take the digit out of every
// number. What is shown is not looked through again: it may hold another one.
func hide(s string, hides []hiding) string {
	var b strings.Builder
	for at := 0; at < len(s); {
		i := slices.IndexFunc(hides, func(h hiding) bool {
			return strings.HasPrefix(s[at:], h.secret) && (len(h.secret) >= 8 || isWord(s, at, at+len(h.secret)))
		})
		if i < 0 {
			b.WriteByte(s[at])
			at++
			continue
		}
		b.WriteString(hides[i].shown)
		at += len(hides[i].secret)
	}
	return b.String()
}

// isWord reports whether s[from:to] is no part of a longer word.
func isWord(s string, from, to int) bool {
	inWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	before, _ := utf8.DecodeLastRuneInString(s[:from])
	after, _ := utf8.DecodeRuneInString(s[to:])
	return !(from > 0 && inWord(before)) && !(to < len(s) && inWord(after))
}

// Walk visits every scalar below v.
func (v *Value) Walk(visit func(*Value)) {
	switch v.Kind {
	case Scalar:
		visit(v)
	case Mapping:
		for _, e := range v.Entries {
			e.Value.Walk(visit)
		}
	case List:
		for _, item := range v.Items {
			item.Walk(visit)
		}
	}
}

// Has reports whether path exists; see [Node.Pos].
func (n *Node) Has(path string) bool {
	if n == nil || n.v == nil {
		return false
	}
	_, ok := n.v.Find(path)
	return ok
}

// Text returns the single value at path, or "" if there is none.
func (n *Node) Text(path string) string {
	if !n.Has(path) {
		return ""
	}
	at, _ := n.v.Find(path)
	return at.Data()
}

// Shown returns the single value at path in a form that may be shown, or "" if there is
// none: a reference as it is written, a secret hidden.
func (n *Node) Shown(path string) string {
	if !n.Has(path) {
		return ""
	}
	at, _ := n.v.Find(path)
	return at.shown()
}

// Keys returns the dotted paths of all values below n that are not mappings, as written:
// "limits.memory".
func (n *Node) Keys() []string {
	var keys []string
	var walk func(v *Value, path string)
	walk = func(v *Value, path string) {
		for _, e := range v.Entries {
			at := Key(path, e.Name)
			if e.Value.Kind == Mapping && len(e.Value.Entries) > 0 {
				walk(e.Value, at)
			} else {
				keys = append(keys, at)
			}
		}
	}
	if n != nil && n.v != nil && n.v.Kind == Mapping {
		walk(n.v, "")
	}
	return keys
}

// Without returns n without the values at the dotted paths.
func (n *Node) Without(paths ...string) *Node {
	if n == nil || n.v == nil || len(paths) == 0 {
		return n
	}
	return &Node{n.v.without("", paths), n.path}
}

func (v *Value) without(path string, paths []string) *Value {
	own := *v
	own.Entries = nil
	for _, e := range v.Entries {
		at := Key(path, e.Name)
		if slices.Contains(paths, at) {
			continue
		}
		if e.Value.Kind == Mapping {
			e.Value = e.Value.without(at, paths)
		}
		own.Entries = append(own.Entries, e)
	}
	return &own
}
