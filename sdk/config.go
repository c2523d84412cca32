package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// DecodeConfig decodes config strictly into v, a pointer to a struct that holds the
// defaults. Unknown fields, wrong types and data after the object are InvalidArgument
// with the ConfigPath. An empty config leaves v unchanged.
func DecodeConfig(config json.RawMessage, v any) error {
	if len(bytes.TrimSpace(config)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(config))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return configError(err, config, v)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return ConfigErrorf("", "unexpected data after the configuration object")
	}
	return nil
}

// ConfigErrorf returns the InvalidArgument error for a bad value at path, such as
// "max_bytes" or "peers[2].addr".
func ConfigErrorf(path, format string, args ...any) error {
	e := storage.Errorf(storage.InvalidArgument, format, args...)
	e.ConfigPath = path
	return e
}

func configError(err error, config json.RawMessage, v any) error {
	var wrongType *json.UnmarshalTypeError
	var unread *valueError
	switch {
	case errors.As(err, &wrongType):
		return ConfigErrorf(wrongType.Field, "a %s is not a %s", wrongType.Value, wrongType.Type)
	case errors.As(err, &unread):
		return ConfigErrorf(badValue(config, reflect.TypeOf(v)), "%v", unread)
	}
	if _, field, ok := strings.Cut(err.Error(), "unknown field "); ok {
		name, _ := strconv.Unquote(field)
		path, known := unknownField(config, reflect.TypeOf(v), name)
		return ConfigErrorf(path, "unknown field %s%s", field, meant(name, known))
	}
	return ConfigErrorf("", "invalid JSON: %v", err)
}

// badValue returns the path of the first size or duration that cannot be read, in the structs
// that t is made of, or "" if it is elsewhere, as in a list.
func badValue(config json.RawMessage, t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var object map[string]json.RawMessage
	if t.Kind() != reflect.Struct || json.Unmarshal(config, &object) != nil {
		return ""
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		raw, ok := object[name]
		switch {
		case !ok:
		case unreadable[Size](f.Type, raw), unreadable[Duration](f.Type, raw):
			return name
		case f.Type.Kind() == reflect.Struct:
			if path := badValue(raw, f.Type); path != "" {
				return name + "." + path
			}
		}
	}
	return ""
}

// unreadable reports whether t is T, and raw is none.
func unreadable[T any](t reflect.Type, raw json.RawMessage) bool {
	return t == reflect.TypeFor[T]() && json.Unmarshal(raw, new(T)) != nil
}

// unknownField returns the path of the first field called name that config has and t does not,
// and the names of the fields that are known there.
func unknownField(config json.RawMessage, t reflect.Type, name string) (path string, known []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var list []json.RawMessage
	var object map[string]json.RawMessage
	switch {
	case t.Kind() == reflect.Slice && json.Unmarshal(config, &list) == nil:
		for i, element := range list {
			if path, known := unknownField(element, t.Elem(), name); known != nil {
				return join("["+strconv.Itoa(i)+"]", path), known
			}
		}
	case json.Unmarshal(config, &object) != nil:
	case t.Kind() == reflect.Map:
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if path, known := unknownField(object[key], t.Elem(), name); known != nil {
				return join(key, path), known
			}
		}
	case t.Kind() == reflect.Struct:
		return unknownIn(object, t, name)
	}
	return name, nil
}

// unknownIn is [unknownField] of a struct.
func unknownIn(object map[string]json.RawMessage, t reflect.Type, name string) (path string, known []string) {
	own := fields(t)
	for _, field := range own {
		known = append(known, field.name)
	}
	if _, has := object[name]; has && !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
		return name, known
	}
	for _, field := range own {
		if raw, has := object[field.name]; has {
			if path, known := unknownField(raw, field.of, name); known != nil {
				return join(field.name, path), known
			}
		}
	}
	return name, nil
}

// join returns the path of what is at path in of.
func join(of, path string) string {
	if strings.HasPrefix(path, "[") {
		return of + path
	}
	return of + "." + path
}

// field is a field of a struct, by its name in JSON.
type field struct {
	name string
	of   reflect.Type
}

// fields returns the fields of a struct, with those of structs embedded in it.
func fields(t reflect.Type) (all []field) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name != "" && name != "-":
			all = append(all, field{name, f.Type})
		case name == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			all = append(all, fields(f.Type)...)
		case name == "" && f.IsExported():
			all = append(all, field{f.Name, f.Type})
		}
	}
	return all
}

// meant returns the end of an error about an unknown name: the nearest known one, else
// all that there are.
func meant(name string, known []string) string {
	best, at := "", max(1, len(name)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < at {
			best, at = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	if len(known) == 0 {
		return ""
	}
	return ": known are " + strings.Join(known, ", ")
}

// distance returns the number of edits between two short names.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left, diagonal := i+1, i
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, left, row[j+1])
			}
			row[j], left, diagonal = left, d, row[j+1]
		}
		row[len(b)] = left
	}
	return row[len(b)]
}

// Size is a number of bytes. In JSON it is a number, or a string with a unit: "64MiB", "1kB",
// "512".
type Size int64

// valueError reports that a value cannot be read.
type valueError struct{ text string }

func (e *valueError) Error() string { return e.text }

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}, {"", 1}}

// UnmarshalJSON reads a number, or a string with a unit.
func (s *Size) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		digits = strings.TrimSpace(digits)
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || leadingZero(digits) || n > (1<<62)/u.bytes {
			break
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return &valueError{strconv.Quote(text) + " is not a size: a number of bytes, or one with B, kB, MB, GB, KiB, MiB or GiB, without leading zeros"}
}

// leadingZero reports whether a number in text begins with a zero before another digit, which
// some readers take for octal.
func leadingZero(text string) bool {
	before := byte(' ')
	for i := range len(text) {
		digit := before >= '0' && before <= '9' || before == '.'
		if !digit && text[i] == '0' && i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9' {
			return true
		}
		before = text[i]
	}
	return false
}

// Duration is a time. In JSON it is a string with a unit: "500ms", "30s", "1h30m".
type Duration time.Duration

// String returns the duration with its unit.
func (d Duration) String() string { return time.Duration(d).String() }

// UnmarshalJSON reads a string with a unit, or the number 0.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		text = string(b)
	}
	t, err := time.ParseDuration(text)
	if err != nil || t < 0 || leadingZero(text) {
		return &valueError{strconv.Quote(text) + " is not a duration: a number with ns, us, ms, s, m or h, without leading zeros, such as 30s"}
	}
	*d = Duration(t)
	return nil
}
