package strictyaml

import (
	"regexp"
	"strconv"
	"strings"
)

// plainName matches a name that needs no quotes in a path.
var plainName = regexp.MustCompile(`^[^\s."'\[\]\x00-\x1f]+$`)

// Key appends the name of a key to a path.
func Key(path, name string) string {
	if !plainName.MatchString(name) {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// Below appends a relative path, such as that of a [FieldError], to a path.
func Below(path, rel string) string {
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

// Item appends an index to a path.
func Item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// Find follows a path such as a.b[2].c down from v. It returns the value at path or, with
// ok false, the deepest existing value on the way. A path that does not parse ends at its
// first invalid part.
func (v *Value) Find(path string) (at *Value, ok bool) {
	at = v
	for path != "" {
		var next *Value
		switch {
		case path[0] == '[':
			end := strings.IndexByte(path, ']')
			if end < 0 {
				return at, false
			}
			i, err := strconv.Atoi(path[1:end])
			if err == nil && i >= 0 && i < len(at.Items) {
				next = at.Items[i]
			}
			path = path[end+1:]
		case path[0] == '"':
			quoted, err := strconv.QuotedPrefix(path)
			if err != nil {
				return at, false
			}
			name, _ := strconv.Unquote(quoted)
			next = at.Get(name)
			path = path[len(quoted):]
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			next = at.Get(path[:end])
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

// Within reports whether path is outer or a path below it.
func Within(outer, path string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
