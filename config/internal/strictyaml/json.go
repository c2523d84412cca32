package strictyaml

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// JSON returns n as JSON for a plugin. A value without quotes that YAML's core schema
// reads as a number, a boolean or null becomes one; all others, including sizes and
// durations, are strings. Keys keep their order. It returns nil if n is nil or empty.
// Numbers that JSON cannot represent, or that YAML parsers read differently, are reported
// as [Errors].
func (n *Node) JSON() (json.RawMessage, error) {
	if n == nil || n.v == nil || n.v.Kind == Null {
		return nil, nil
	}
	var e jsonEncoder
	e.value(n.v, n.path)
	if err := e.problems.Err(); err != nil {
		return nil, err
	}
	return e.out.Bytes(), nil
}

type jsonEncoder struct {
	out      bytes.Buffer
	problems Problems
}

func (e *jsonEncoder) value(v *Value, path string) {
	switch v.Kind {
	case Null:
		e.out.WriteString("null")
	case Mapping:
		e.out.WriteByte('{')
		for i, entry := range v.Entries {
			if i > 0 {
				e.out.WriteByte(',')
			}
			e.text(entry.Name)
			e.out.WriteByte(':')
			e.value(entry.Value, Key(path, entry.Name))
		}
		e.out.WriteByte('}')
	case List:
		e.out.WriteByte('[')
		for i, item := range v.Items {
			if i > 0 {
				e.out.WriteByte(',')
			}
			e.value(item, Item(path, i))
		}
		e.out.WriteByte(']')
	case Scalar:
		e.scalar(v, path)
	}
}

func (e *jsonEncoder) scalar(v *Value, path string) {
	switch v.core() {
	case coreNull:
		e.out.WriteString("null")
	case coreBool:
		e.out.WriteString(strings.ToLower(v.Data()))
	case coreInt:
		negative, digits, base := splitInt(v.Data())
		if base != 10 {
			n, err := parseUint(v.Data(), 64)
			if err != nil {
				e.problems.Addf(v.Pos, path, "%s is out of range", v.Show())
				return
			}
			digits = strconv.FormatUint(n, 10)
		}
		if negative {
			e.out.WriteByte('-')
		}
		e.out.WriteString(digits) // as many digits as written: the reader decides what fits
	case coreFloat:
		f, err := strconv.ParseFloat(v.Data(), 64)
		if err != nil {
			e.problems.Addf(v.Pos, path, "%s is out of range", v.Show())
			return
		}
		out, _ := json.Marshal(f)
		e.out.Write(out)
	case coreAmbiguous:
		e.problems.Addf(v.Pos, path, "%s %s", v.Show(), ambiguousNumber)
	case coreNotFinite:
		e.problems.Addf(v.Pos, path, "%s is not a finite number", v.Show())
	default:
		e.text(v.Data())
	}
}

func (e *jsonEncoder) text(s string) {
	out, _ := json.Marshal(s) // a string always has a JSON form
	e.out.Write(out)
}
