package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// fault says what is wrong with a body that cannot be decoded, in the words of JSON: the
// decoder's own text names types of Go.
func fault(raw []byte, err error) string {
	if len(bytes.TrimSpace(raw)) == 0 {
		return "the body is empty: it must be a JSON object"
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		switch {
		case errors.Is(e, jsontext.ErrDuplicateName):
			return fmt.Sprintf("duplicate field %q", field(e.JSONPointer))
		case errors.Is(e, io.ErrUnexpectedEOF):
			return "the body is not JSON: it ends early"
		}
		return fmt.Sprintf("the body is not JSON: %v at byte %d", e.Err, e.ByteOffset)
	}
	e, ok := errors.AsType[*json.SemanticError](err)
	switch {
	case !ok:
		return "the body is not a JSON object of this request"
	case errors.Is(e, json.ErrUnknownName):
		return fmt.Sprintf("unknown field %q", field(e.JSONPointer))
	case e.JSONPointer == "":
		return fmt.Sprintf("the body must be %s, not %s", wanted(e.GoType), kinds[e.JSONKind])
	case e.JSONKind == '0' && wanted(e.GoType) == "a whole number":
		return fmt.Sprintf("field %q must be a whole number of 64 bits", field(e.JSONPointer))
	}
	return fmt.Sprintf("field %q must be %s, not %s", field(e.JSONPointer), wanted(e.GoType), kinds[e.JSONKind])
}

// kinds names what JSON has.
var kinds = map[jsontext.Kind]string{'n': "null", 't': "true", 'f': "false", '"': "a string", '0': "a number", '{': "an object", '[': "an array"}

// wanted names what JSON has for a type.
func wanted(t reflect.Type) string {
	if t == nil {
		return "another value"
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "a JSON object"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	}
	return "another value"
}

// field returns a place in a body as messages name it: write[0].object.
func field(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		switch {
		case strings.Trim(token, "0123456789") == "" && token != "":
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
	}
	return clip(b.String(), 100)
}
