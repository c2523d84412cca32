package strictyaml

import "strconv"

// Value holds one value of a document, without YAML's variety, with its position.
type Value struct {
	Kind    Kind
	Key     Position // of its key or its place in a list
	Pos     Position // of the value itself
	Entries []Entry  // of a mapping, in the order written
	Items   []*Value // of a list

	// Of a scalar:
	Text   string // as written, with references; once it is sealed, without its secret
	data   string // what is decoded: Text with its references resolved
	sealed sealed // in place of data
	Plain  bool   // written without quotes
	Origin Origin
	Broken bool // already reported: its data is invalid
	// Masked replaces Text, which contains a secret. If empty, Text may be shown.
	Masked string
	// Ordinary means that the value is Masked, but may be a word that messages need.
	Ordinary bool
}

// Entry holds a key of a mapping with its value.
type Entry struct {
	Name     string
	Spelling Spelling
	At       Position // of the key
	Value    *Value
}

// Kind is the kind of a value.
type Kind uint8

const (
	Null   Kind = iota // nothing: the zero Value
	Scalar             // text; its type is the decoder's to find out
	List
	Mapping
)

// Origin says how much of a scalar may be shown.
type Origin uint8

const (
	Document    Origin = iota // in the open: may be shown
	Reference                 // through a reference: its text may be shown, its data not
	Environment               // a variable: nothing may be shown
)

// Spelling says how the name of a key is compared with known names.
type Spelling uint8

const (
	Exact Spelling = iota // as it is
	Loose                 // folded, see [Fold]
	Lost                  // folded, and it cannot name anything new: its case is unknown
)

// Get returns the value of a key, or nil if there is none.
func (v *Value) Get(name string) *Value {
	for _, e := range v.Entries {
		if e.Is(name) {
			return e.Value
		}
	}
	return nil
}

// Is reports whether name is the key of e, according to its spelling.
func (e Entry) Is(name string) bool {
	return e.Name == name || e.Spelling != Exact && Fold(e.Name) == Fold(name)
}

// Where returns the position for an error about v: its own if it is a scalar, that of
// its key if it may spread over lines.
func (v *Value) Where() Position {
	if v.Kind == Scalar {
		return v.Pos
	}
	return v.Key
}

// Describe returns the kind of v for a sentence "expected …, got …".
func (v *Value) Describe() string {
	switch {
	case v.Kind == Null:
		return "nothing"
	case v.Kind == List:
		return "a list"
	case v.Kind == Mapping:
		return "a mapping"
	case !v.Plain || v.Origin != Document:
		return "a string"
	}
	switch coreType(v.Data()) {
	case coreBool:
		return "a boolean"
	case coreInt, coreFloat, coreAmbiguous:
		return "a number"
	}
	return "a string"
}

// Show returns a scalar as an error may show it.
func (v *Value) Show() string {
	if v.Origin == Document && v.Masked == "" {
		return strconv.Quote(Clip(v.Data()))
	}
	return Clip(v.shown())
}

// shown returns a scalar without what may not be shown of it.
func (v *Value) shown() string {
	switch {
	case v.Origin == Environment:
		return "the value"
	case v.Masked != "":
		return v.Masked
	case v.Origin == Reference:
		return v.Text
	}
	return v.Data()
}
