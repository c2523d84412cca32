package strictyaml

import (
	"reflect"
	"strings"
)

// validate asks a decoded struct what it thinks of its values.
func (d *Decoder) validate(rv reflect.Value, v *Value, path string) {
	own, ok := rv.Addr().Interface().(interface{ Validate() error })
	if !ok {
		return
	}
	for _, e := range fieldErrors(own.Validate()) {
		d.Invalid(e, v, path)
	}
}

// Invalid reports the error of a Validate about a field of v, which is at path, unless
// that field or a part of it already failed to decode.
func (d *Decoder) Invalid(e FieldError, v *Value, path string) {
	if d.Problems.full() { // the rest is costly, and would not be shown
		d.Problems.more++
		return
	}
	full := Below(path, e.Path)
	for failed := range d.failed {
		if Within(failed, full) || e.Path != "" && Within(full, failed) {
			return
		}
	}
	at, _ := v.Find(e.Path)
	d.Problems.Add(at.Where(), full, redact(clipMessage(e.Message), v))
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
