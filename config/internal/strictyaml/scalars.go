package strictyaml

import (
	"math"
	"reflect"
	"strconv"
)

// scalar decodes a plain value into a Go type of the language itself. In a file,
// what is in quotes is a string and nothing else; what came through a reference or
// from outside the file is text that the wanted type reads.
func (d *Decoder) scalar(rv reflect.Value, v *Value, path string) {
	wanted := ""
	switch rv.Kind() {
	case reflect.String:
		wanted = "a string"
	case reflect.Bool:
		wanted = "true or false"
	case reflect.Float32, reflect.Float64:
		wanted = "a number"
	case reflect.Interface:
		if rv.NumMethod() == 0 {
			d.anything(rv, v, path)
			return
		}
	default:
		if rv.CanInt() || rv.CanUint() {
			wanted = "a whole number"
		}
	}
	if wanted == "" {
		d.Failf(v.Where(), path, "cannot be decoded into %s", rv.Type())
		return
	}
	if v.Kind != Scalar {
		d.Want(v, path, wanted)
		return
	}
	is := coreType(v.Data())
	fromOutside := v.Origin != Document || v.Pos.Line == 0
	switch {
	case rv.Kind() == reflect.String:
		if v.Plain && !fromOutside && is != coreString {
			d.Failf(v.Pos, path, "expected a string, got %s: put it in quotes", v.Describe())
			return
		}
		rv.SetString(v.Data())
	case !v.Plain && !fromOutside:
		d.Failf(v.Pos, path, "expected %s, got a string: remove the quotes", wanted)
	case is == coreAmbiguous:
		d.Failf(v.Pos, path, "%s %s", v.Show(), ambiguousNumber)
	case rv.Kind() == reflect.Bool && is == coreBool:
		rv.SetBool(v.Data()[0] == 't' || v.Data()[0] == 'T')
	case rv.CanInt() && is == coreInt:
		n, err := parseInt(v.Data(), rv.Type().Bits())
		if err != nil {
			d.Failf(v.Pos, path, "%s is out of range: must be a whole number from %d to %d", v.Show(), int64(-1)<<(rv.Type().Bits()-1), int64(math.MaxInt64)>>(64-rv.Type().Bits()))
			return
		}
		rv.SetInt(n)
	case rv.CanUint() && is == coreInt:
		n, err := parseUint(v.Data(), rv.Type().Bits())
		if err != nil {
			d.Failf(v.Pos, path, "%s is out of range: must be a whole number from 0 to %d", v.Show(), uint64(math.MaxUint64)>>(64-rv.Type().Bits()))
			return
		}
		rv.SetUint(n)
	case rv.CanFloat() && (is == coreInt || is == coreFloat):
		f, err := parseFloat(v.Data(), rv.Type().Bits())
		if err != nil {
			d.Failf(v.Pos, path, "%s is out of range", v.Show())
			return
		}
		rv.SetFloat(f)
	default:
		d.Failf(v.Pos, path, "expected %s, got %s", wanted, v.Show())
	}
}

// parseFloat reads a number of core type int or float.
func parseFloat(s string, bits int) (float64, error) {
	if coreType(s) == coreInt {
		if _, _, base := splitInt(s); base != 10 {
			n, err := parseUint(s, 64)
			return float64(n), err
		}
	}
	return strconv.ParseFloat(s, bits)
}

// anything decodes into an empty interface: map[string]any, []any, string, bool,
// int64, float64 or nil, as the core schema says.
func (d *Decoder) anything(rv reflect.Value, v *Value, path string) {
	set := func(x any) { rv.Set(reflect.ValueOf(x)) }
	switch v.Kind {
	case Mapping:
		m := map[string]any{}
		d.dictionary(reflect.ValueOf(&m).Elem(), v, path, false)
		set(m)
		return
	case List:
		l := []any{}
		d.slice(reflect.ValueOf(&l).Elem(), v, path, false)
		set(l)
		return
	}
	var into reflect.Value
	switch v.core() {
	case coreBool:
		into = reflect.New(reflect.TypeFor[bool]()).Elem()
	case coreInt:
		into = reflect.New(reflect.TypeFor[int64]()).Elem()
	case coreFloat:
		into = reflect.New(reflect.TypeFor[float64]()).Elem()
	case coreAmbiguous:
		d.Failf(v.Pos, path, "%s %s", v.Show(), ambiguousNumber)
		return
	default:
		set(v.Data())
		return
	}
	d.scalar(into, v, path)
	rv.Set(into)
}

// core returns the type of v if none is expected: that of the core schema for a plain
// scalar, else a string. Text from outside the file that is ambiguous in the schema (007, an
// empty value) stays text.
func (v *Value) core() core {
	if !v.Plain {
		return coreString
	}
	is := coreType(v.Data())
	if (v.Origin != Document || v.Pos.Line == 0) && (is == coreAmbiguous || is == coreNull && v.Data() == "") {
		return coreString
	}
	return is
}

// IsString reports whether v is a string if only its text decides.
func (v *Value) IsString() bool {
	return v.Kind == Scalar && (!v.Plain || v.core() == coreString)
}
