// Package strictjson reads JSON as docs/http.md promises to: one object, valid UTF-8, no name
// twice, no half of a surrogate pair, numbers as they are written, and a bound on depth and
// on how many values there are. Bytes are a string, or base64 in the field with 64 behind
// its name.
package strictjson

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/plinthkv/plinth/storage"
)

// maxDepth is how deep JSON may nest.
const maxDepth = 16

// Node is a value of strict JSON: nil, bool, string, json.Number, []Node or
// *Object.
type Node any

// Object is a JSON object whose names are all different.
type Object struct {
	Path   string // of the object; empty: the outermost
	Fields map[string]Node
	names  []string // in order
}

// Parse parses one object, of at most nodes values.
func Parse(body []byte, nodes int) (*Object, error) {
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("not valid UTF-8; bytes go as base64 in fields like key64")
	}
	if err := loneSurrogate(body); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	p := parser{dec, nodes, nodes}
	n, err := p.node("", 1)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the object")
	}
	o, ok := n.(*Object)
	if !ok {
		return nil, fmt.Errorf("want an object")
	}
	return o, nil
}

// parser parses nodes as long as there are some left.
type parser struct {
	*json.Decoder
	most, left int
}

func (p *parser) node(path string, depth int) (Node, error) {
	if p.left--; p.left < 0 {
		return nil, storage.LimitError(storage.SizeLimit, "JSON values", int64(p.most), int64(p.most)+1)
	}
	t, err := p.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	if delim == '[' {
		list := []Node{}
		for p.More() {
			n, err := p.node(fmt.Sprintf("%s[%d]", path, len(list)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, n)
		}
		_, err := p.Token()
		return list, err
	}
	o := &Object{Path: path, Fields: map[string]Node{}}
	for p.More() {
		t, err := p.Token()
		if err != nil {
			return nil, err
		}
		name := t.(string) // the decoder has seen to it
		if _, twice := o.Fields[name]; twice {
			return nil, fmt.Errorf("%s is there twice", o.At(clip(name)))
		}
		if o.Fields[name], err = p.node(o.At(clip(name)), depth+1); err != nil {
			return nil, err
		}
		o.names = append(o.names, name)
	}
	_, err = p.Token()
	return o, err
}

// loneSurrogate finds half of a \u pair, which the decoder would turn into
// another character without a word.
func loneSurrogate(body []byte) error {
	for i := 0; i+5 < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		if body[i+1] != 'u' {
			i++
			continue
		}
		switch unit, ok := hex4(body[i+2:]); {
		case ok && unit >= 0xDC00 && unit < 0xE000:
			return fmt.Errorf("half of a surrogate pair at byte %d", i)
		case ok && unit >= 0xD800 && unit < 0xDC00:
			if i+11 >= len(body) || body[i+6] != '\\' || body[i+7] != 'u' {
				return fmt.Errorf("half of a surrogate pair at byte %d", i)
			}
			if low, ok := hex4(body[i+8:]); !ok || low < 0xDC00 || low >= 0xE000 {
				return fmt.Errorf("half of a surrogate pair at byte %d", i)
			}
			i += 6
		}
		i += 5
	}
	return nil
}

func hex4(b []byte) (n rune, ok bool) {
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// At is the path of a field.
func (o *Object) At(name string) string {
	if o.Path == "" {
		return name
	}
	return o.Path + "." + name
}

// Has reports whether there is a field of that name.
func (o *Object) Has(name string) bool { _, ok := o.Fields[name]; return ok }

// Only refuses names that are not known.
func (o *Object) Only(known ...string) error {
	for _, name := range o.names {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			return bad("JSON: unknown name %q; known are %s", clip(o.At(name)), strings.Join(known, ", "))
		}
	}
	return nil
}

// Text is a string.
func (o *Object) Text(name string) (string, error) {
	s, ok := o.Fields[name].(string)
	if !ok {
		return "", bad("JSON: %s must be a string", o.At(name))
	}
	return s, nil
}

// List is an array of objects; an absent one is empty.
func (o *Object) List(name string) ([]*Object, error) {
	if !o.Has(name) {
		return nil, nil
	}
	array, ok := o.Fields[name].([]Node)
	if !ok {
		return nil, bad("JSON: %s must be an array", o.At(name))
	}
	objects := make([]*Object, len(array))
	for i, n := range array {
		if objects[i], ok = n.(*Object); !ok {
			return nil, bad("JSON: %s[%d] must be an object", o.At(name), i)
		}
	}
	return objects, nil
}

// Bytes are those of a string, or of the field of that name with 64 behind it; nil: neither is
// there.
func (o *Object) Bytes(name string) ([]byte, error) {
	switch text, encoded := o.Has(name), o.Has(name+"64"); {
	case text && encoded:
		return nil, bad("JSON: %s and %s64 exclude each other", o.At(name), name)
	case text:
		s, err := o.Text(name)
		return []byte(s), err
	case encoded:
		s, err := o.Text(name + "64")
		if err != nil {
			return nil, err
		}
		b, err := Decode64(s)
		if err != nil {
			return nil, bad("JSON: %s64 is not base64 (standard alphabet, padded)", o.At(name))
		}
		return b, nil
	}
	return nil, nil
}

// Need is Bytes of a field that must be there.
func (o *Object) Need(name string) ([]byte, error) {
	b, err := o.Bytes(name)
	if err == nil && b == nil {
		return nil, bad("JSON: %s (or %s64) is missing", o.At(name), name)
	}
	return b, err
}

// Decode64 is strict: no line ends, no bits left over. The result is not nil, so that
// an empty text stays apart from an absent one.
func Decode64(s string) ([]byte, error) {
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Strict().Decode(b, []byte(s))
	return b[:n], err
}

// bad is the error of what is not as it has to be.
func bad(format string, args ...any) error {
	return storage.Errorf(storage.InvalidArgument, format, args...)
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
