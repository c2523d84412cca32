package config

import (
	"regexp"
	"strconv"
	"strings"
)

// value is one node of the configuration: what YAML said, freed of YAML's
// variety, with the place it came from.
type value struct {
	kind    kind
	key     Position // of its key or its place in a list
	pos     Position // of the value itself
	entries []entry  // of a mapping, in the order written
	items   []*value // of a list

	// Of a scalar:
	text   string // as written, references and all
	data   string // with references resolved
	plain  bool   // written without quotes
	origin origin
	broken bool // its reference failed and was reported: do not look at data
}

// entry is one key of a mapping with its value.
type entry struct {
	name  string
	added added
	at    Position
	value *value
}

type kind uint8

const (
	null kind = iota
	scalar
	list
	mapping
)

// origin says how much a scalar may tell.
type origin uint8

const (
	document    origin = iota // in the file, or in a flag: may be shown
	reference                 // through a reference: its text may be shown, its data not
	environment               // the variable itself: nothing may be shown
)

// added says who added a key. The names of keys that are not from a document are
// compared folded; the environment's have lost their spelling altogether.
type added uint8

const (
	byDocument added = iota
	byFlag
	byEnvironment
)

// get is the value of a key, nil if it is not there. A key that the environment or
// a flag added goes by its folded name.
func (v *value) get(name string) *value {
	for _, e := range v.entries {
		if e.is(name) {
			return e.value
		}
	}
	return nil
}

func (e entry) is(name string) bool {
	return e.name == name || e.added != byDocument && fold(e.name) == fold(name)
}

// where is the position that an error about v names: a scalar itself, the key of
// anything that spreads over lines.
func (v *value) where() Position {
	if v.kind == scalar {
		return v.pos
	}
	return v.key
}

// describe is the kind of v in a sentence "want …, got …".
func (v *value) describe() string {
	switch {
	case v.kind == null:
		return "nothing"
	case v.kind == list:
		return "a list"
	case v.kind == mapping:
		return "a mapping"
	case !v.plain || v.origin != document:
		return "a string"
	}
	switch coreType(v.data) {
	case coreBool:
		return "a boolean"
	case coreInt, coreFloat, coreAmbiguous:
		return "a number"
	}
	return "a string"
}

// show is a scalar as an error may name it.
func (v *value) show() string {
	switch v.origin {
	case reference:
		return clip(v.text)
	case environment:
		return "the value"
	}
	return strconv.Quote(clip(v.data))
}

// plainName is a name that needs no quotes in a path.
var plainName = regexp.MustCompile(`^[^\s."'\[\]\x00-\x1f]+$`)

// join appends a key to a path.
func join(path, name string) string {
	if !plainName.MatchString(name) {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// joinPath appends a relative path, such as a FieldError has, to a path.
func joinPath(path, rel string) string {
	switch {
	case path == "":
		return rel
	case rel == "":
		return path
	case strings.HasPrefix(rel, "["):
		return path + rel
	}
	return path + "." + rel
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// find walks a path such as a.b[2].c down from v. It returns what the path names,
// or, with ok false, the deepest value on the way that exists. A path that does
// not parse ends where it stops to make sense.
func (v *value) find(path string) (at *value, ok bool) {
	at = v
	for path != "" {
		var next *value
		switch {
		case path[0] == '[':
			end := strings.IndexByte(path, ']')
			if end < 0 {
				return at, false
			}
			i, err := strconv.Atoi(path[1:end])
			if err == nil && i >= 0 && i < len(at.items) {
				next = at.items[i]
			}
			path = path[end+1:]
		case path[0] == '"':
			quoted, err := strconv.QuotedPrefix(path)
			if err != nil {
				return at, false
			}
			name, _ := strconv.Unquote(quoted)
			next = at.get(name)
			path = path[len(quoted):]
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			next = at.get(path[:end])
			path = path[end:]
		}
		if next == nil {
			return at, false
		}
		at = next
		path = strings.TrimPrefix(path, ".")
	}
	return at, true
}
