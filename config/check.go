package config

import (
	"reflect"
	"strings"
)

// validate asks a decoded struct what it thinks of its values.
func (d *decoder) validate(rv reflect.Value, v *value, path string) {
	own, ok := rv.Addr().Interface().(interface{ Validate() error })
	if !ok {
		return
	}
	for _, e := range fieldErrors(own.Validate()) {
		d.invalid(e, v, path)
	}
}

// invalid reports what a Validate said about a field, unless that field, or
// something in it, could not be decoded in the first place.
func (d *decoder) invalid(e FieldError, v *value, path string) {
	if d.problems.full() { // the rest is costly, and would not be shown
		d.problems.more++
		return
	}
	full := joinPath(path, e.Path)
	for failed := range d.failed {
		if inPath(failed, full) || e.Path != "" && inPath(full, failed) {
			return
		}
	}
	at, _ := v.find(e.Path)
	d.problems.add(at.where(), full, redact(clipMessage(e.Message), v))
}

// inPath says whether path names outer or something in it.
func inPath(outer, path string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// fieldErrors takes what a Validate returned apart, into errors about a field each.
// An error that names no field is about the struct.
func fieldErrors(err error) []FieldError {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var out []FieldError
		for _, one := range j.Unwrap() {
			out = append(out, fieldErrors(one)...)
		}
		return out
	}
	message := err.Error()
	for inner := err; inner != nil; {
		switch e := inner.(type) {
		case *FieldError:
			return []FieldError{{e.Path, strings.TrimPrefix(message, e.Path+": ")}}
		case interface{ ConfigPath() string }:
			return []FieldError{{e.ConfigPath(), strings.TrimPrefix(message, e.ConfigPath()+": ")}}
		case interface{ Unwrap() error }:
			inner = e.Unwrap()
		case interface{ Unwrap() []error }:
			return fieldErrors(inner)
		default:
			inner = nil
		}
	}
	return []FieldError{{"", message}}
}
