package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/plinthkv/plinth/storage"
)

// maxDepth is how deep JSON may nest.
const maxDepth = 16

// nodesOf is how many values JSON may hold that says items things: what is parsed
// takes far more memory than its text, so that the limit of items alone, which is
// looked at afterwards, would come too late. No item takes as many values.
func nodesOf(items int) int { return 8*items + 64 }

// A node is a value of strict JSON: nil, bool, string, json.Number, []node or
// *object.
type node any

// object is a JSON object whose names are all different.
type object struct {
	path   string
	fields map[string]node
	names  []string // in order
}

// readJSON reads a body that must be one JSON object, strictly, of at most that
// many items.
func (c *call) readJSON(max int64, items int) (*object, error) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || kind != "application/json" || charset != "" && charset != "utf-8" {
		return nil, httpError(http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must be application/json")
	}
	if c.r.Header.Get("Content-Encoding") != "" {
		return nil, httpError(http.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Encoding is not supported")
	}
	body, err := c.readBody(max)
	if err != nil {
		return nil, err
	}
	if err := c.in.account.Take(c.r.Context(), 2*int64(len(body))); err != nil { // for what is made of it
		return nil, err
	}
	o, err := parseJSON(body, nodesOf(items))
	var tooMany *storage.Error
	if err != nil && !errors.As(err, &tooMany) {
		err = badRequest("JSON: %v", err)
	}
	return o, err
}

// parseJSON parses at most nodes values.
func parseJSON(body []byte, nodes int) (*object, error) {
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
	o, ok := n.(*object)
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

func (p *parser) node(path string, depth int) (node, error) {
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
		list := []node{}
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
	o := &object{path: path, fields: map[string]node{}}
	for p.More() {
		t, err := p.Token()
		if err != nil {
			return nil, err
		}
		name := t.(string) // the decoder has seen to it
		if _, twice := o.fields[name]; twice {
			return nil, fmt.Errorf("%s is there twice", o.at(clip(name)))
		}
		if o.fields[name], err = p.node(o.at(clip(name)), depth+1); err != nil {
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

func (o *object) at(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

func (o *object) has(name string) bool { _, ok := o.fields[name]; return ok }

// only refuses names that are not known.
func (o *object) only(known ...string) error {
	for _, name := range o.names {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			return badRequest("JSON: unknown name %q; known are %s", clip(o.at(name)), strings.Join(known, ", "))
		}
	}
	return nil
}

func (o *object) string(name string) (string, error) {
	s, ok := o.fields[name].(string)
	if !ok {
		return "", badRequest("JSON: %s must be a string", o.at(name))
	}
	return s, nil
}

// list is an array of objects; an absent one is empty.
func (o *object) list(name string) ([]*object, error) {
	if !o.has(name) {
		return nil, nil
	}
	array, ok := o.fields[name].([]node)
	if !ok {
		return nil, badRequest("JSON: %s must be an array", o.at(name))
	}
	objects := make([]*object, len(array))
	for i, n := range array {
		if objects[i], ok = n.(*object); !ok {
			return nil, badRequest("JSON: %s[%d] must be an object", o.at(name), i)
		}
	}
	return objects, nil
}

// bytes is a string, or the field of that name with 64 behind it; nil: neither is
// there.
func (o *object) bytes(name string) ([]byte, error) {
	switch text, encoded := o.has(name), o.has(name+"64"); {
	case text && encoded:
		return nil, badRequest("JSON: %s and %s64 exclude each other", o.at(name), name)
	case text:
		s, err := o.string(name)
		return []byte(s), err
	case encoded:
		s, err := o.string(name + "64")
		if err != nil {
			return nil, err
		}
		b, err := decode64(s)
		if err != nil {
			return nil, badRequest("JSON: %s64 is not base64 (standard alphabet, padded)", o.at(name))
		}
		return b, nil
	}
	return nil, nil
}

// need is bytes of a field that must be there.
func (o *object) need(name string) ([]byte, error) {
	b, err := o.bytes(name)
	if err == nil && b == nil {
		return nil, badRequest("JSON: %s (or %s64) is missing", o.at(name), name)
	}
	return b, err
}
