package config

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// JSON is n for somebody who reads JSON: a plugin. What looks like a number, a
// boolean or null by YAML's core schema, and is not in quotes, becomes one; all
// else, sizes and durations too, is a string. Keys keep their order. It is nil
// if n is nil or nothing is written. Numbers that JSON cannot hold, or that are
// read differently by different readers of YAML, are reported as [Errors].
func (n *Node) JSON() (json.RawMessage, error) {
	if n == nil || n.v == nil || n.v.kind == null {
		return nil, nil
	}
	var e jsonEncoder
	e.value(n.v, n.path)
	if err := e.problems.err(); err != nil {
		return nil, err
	}
	return e.out.Bytes(), nil
}

type jsonEncoder struct {
	out      bytes.Buffer
	problems problems
}

func (e *jsonEncoder) value(v *value, path string) {
	switch v.kind {
	case null:
		e.out.WriteString("null")
	case mapping:
		e.out.WriteByte('{')
		for i, entry := range v.entries {
			if i > 0 {
				e.out.WriteByte(',')
			}
			e.text(entry.name)
			e.out.WriteByte(':')
			e.value(entry.value, join(path, entry.name))
		}
		e.out.WriteByte('}')
	case list:
		e.out.WriteByte('[')
		for i, item := range v.items {
			if i > 0 {
				e.out.WriteByte(',')
			}
			e.value(item, index(path, i))
		}
		e.out.WriteByte(']')
	case scalar:
		e.scalar(v, path)
	}
}

func (e *jsonEncoder) scalar(v *value, path string) {
	switch v.core() {
	case coreNull:
		e.out.WriteString("null")
	case coreBool:
		e.out.WriteString(strings.ToLower(v.data))
	case coreInt:
		negative, digits, base := splitInt(v.data)
		if base != 10 {
			n, err := parseUint(v.data, 64)
			if err != nil {
				e.problems.addf(v.pos, path, "%s is out of range", v.show())
				return
			}
			digits = strconv.FormatUint(n, 10)
		}
		if negative {
			e.out.WriteByte('-')
		}
		e.out.WriteString(digits) // as many digits as written: the reader decides what fits
	case coreFloat:
		f, err := strconv.ParseFloat(v.data, 64)
		if err != nil {
			e.problems.addf(v.pos, path, "%s is out of range", v.show())
			return
		}
		out, _ := json.Marshal(f)
		e.out.Write(out)
	case coreAmbiguous:
		e.problems.addf(v.pos, path, "%s %s", v.show(), ambiguousNumber)
	case coreNotFinite:
		e.problems.addf(v.pos, path, "%s is no finite number", v.show())
	default:
		e.text(v.data)
	}
}

func (e *jsonEncoder) text(s string) {
	out, _ := json.Marshal(s) // a string always has a JSON form
	e.out.Write(out)
}
