// Package strictjson reads and writes JSON as docs/http.md promises to: one object, valid
// UTF-8, no name twice, no half of a surrogate pair, numbers as they are written, and a bound
// on depth and on how many values there are. Bytes are a string, or base64 in the field with
// 64 behind its name.
package strictjson

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/plinthkv/plinth/storage"
)

// maxDepth limits how deep JSON may nest.
const maxDepth = 16

// Node holds a value of strict JSON: nil, bool, string, json.Number, []Node or *Object.
type Node any

// Object holds a JSON object whose names are all different.
type Object struct {
	Path   string // of the object; empty for the outermost
	Fields map[string]Node
	names  []string // in order
}

// Parse parses one object, of at most nodes values.
func Parse(body []byte, nodes int) (*Object, error) {
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("not valid UTF-8; bytes go as base64 in fields like key64")
	}
	p := parser{jsontext.NewDecoder(bytes.NewBuffer(body)), nodes, nodes}
	n, err := p.node("", 1)
	if err != nil {
		return nil, said(err)
	}
	if _, err := p.ReadToken(); err != io.EOF {
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
	*jsontext.Decoder
	most, left int
}

func (p *parser) node(path string, depth int) (Node, error) {
	if p.left--; p.left < 0 {
		return nil, storage.LimitError(storage.SizeLimit, "JSON values", int64(p.most), int64(p.most)+1)
	}
	t, err := p.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return t.Bool(), nil
	case '"':
		return t.String(), nil
	case '0':
		return json.Number(t.String()), nil
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	if t.Kind() == '[' {
		return p.list(path, depth)
	}
	return p.object(path, depth)
}

func (p *parser) list(path string, depth int) (Node, error) {
	list := []Node{}
	for p.PeekKind() != ']' {
		n, err := p.node(fmt.Sprintf("%s[%d]", path, len(list)), depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	_, err := p.ReadToken()
	return list, err
}

func (p *parser) object(path string, depth int) (Node, error) {
	o := &Object{Path: path, Fields: map[string]Node{}}
	for p.PeekKind() != '}' {
		t, err := p.ReadToken()
		if err != nil {
			return nil, twice(o, err)
		}
		name := t.String()
		if o.Fields[name], err = p.node(o.At(clip(name)), depth+1); err != nil {
			return nil, err
		}
		o.names = append(o.names, name)
	}
	_, err := p.ReadToken()
	return o, err
}

// twice returns err, or what to say of a name that an object has twice.
func twice(o *Object, err error) error {
	if e := (*jsontext.SyntacticError)(nil); errors.As(err, &e) && e.Err == jsontext.ErrDuplicateName {
		return fmt.Errorf("duplicate field %q", o.At(clip(e.JSONPointer.LastToken())))
	}
	return err
}

// said returns an error of the decoder, with the byte that it is about.
func said(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	if e := (*jsontext.SyntacticError)(nil); errors.As(err, &e) {
		return fmt.Errorf("%w at byte %d", e.Err, e.ByteOffset)
	}
	return err
}

// At returns the path of a field.
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

// Text returns a string.
func (o *Object) Text(name string) (string, error) {
	s, ok := o.Fields[name].(string)
	if !ok {
		return "", bad("JSON: %s must be a string", o.At(name))
	}
	return s, nil
}

// List returns an array of objects; an absent one is empty.
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

// Bytes returns the bytes of a string, or of the base64 field with 64 appended to its name, or
// nil if both are absent.
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

// Need returns Bytes of a required field.
func (o *Object) Need(name string) ([]byte, error) {
	b, err := o.Bytes(name)
	if err == nil && b == nil {
		return nil, bad("JSON: %s (or %s64) is missing", o.At(name), name)
	}
	return b, err
}

// Decode64 decodes base64 strictly: no line ends, no bits left over. The result is not nil,
// so that an empty text stays apart from an absent one.
func Decode64(s string) ([]byte, error) {
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Strict().Decode(b, []byte(s))
	return b[:n], err
}

// bad returns an error about invalid JSON.
func bad(format string, args ...any) error {
	return storage.Errorf(storage.InvalidArgument, format, args...)
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
