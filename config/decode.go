package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// decoder decodes one tree and collects what is wrong with it.
type decoder struct {
	problems problems
	failed   map[string]bool // paths with an error, so that a Validate does not repeat it
}

// nodeDecoder is a type of this package that reads its value itself.
type nodeDecoder interface {
	decodeValue(d *decoder, v *value, path string)
}

// unsupported is the type of a blank field for a word that is known, and that this
// version cannot do. Its tag hides:"name" names a field whose absence is then not
// worth an error of its own.
type unsupported struct{}

var (
	durationType    = reflect.TypeFor[time.Duration]()
	nodeType        = reflect.TypeFor[*Node]()
	unsupportedType = reflect.TypeFor[unsupported]()
)

func (d *decoder) failf(pos Position, path, format string, args ...any) {
	d.problems.addf(pos, path, format, args...)
	d.fail(path)
}

func (d *decoder) fail(path string) {
	if d.failed == nil {
		d.failed = make(map[string]bool)
	}
	d.failed[path] = true
}

// want reports that v has the wrong type.
func (d *decoder) want(v *value, path, wanted string) {
	d.failf(v.where(), path, "want %s, got %s", wanted, v.describe())
}

func (d *decoder) decodeInto(into any, v *value, path string) {
	rv := reflect.ValueOf(into)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		d.failf(v.where(), path, "cannot be decoded into %T: want a pointer", into)
		return
	}
	d.decode(rv.Elem(), v, path, false)
}

// decode reads v into rv, which can be set. bytes says that an integer is a size.
func (d *decoder) decode(rv reflect.Value, v *value, path string, bytes bool) {
	if v.broken {
		d.fail(path)
		return
	}
	if rv.Type() == nodeType {
		rv.Set(reflect.ValueOf(&Node{v, path}))
		return
	}
	if own, ok := rv.Addr().Interface().(nodeDecoder); ok {
		own.decodeValue(d, v, path)
		return
	}
	if v.kind == null {
		d.absent(rv, v, path)
		return
	}
	switch {
	case rv.Type() == durationType:
		decodeText(d, v, path, parseDuration, func(t time.Duration) { rv.SetInt(int64(t)) })
		return
	case bytes && (rv.CanInt() || rv.CanUint()):
		decodeText(d, v, path, parseBytes, func(n int64) { d.setSize(rv, n, v, path) })
		return
	}
	switch own := rv.Addr().Interface().(type) {
	case *Bytes:
		decodeText(d, v, path, parseBytes, func(n int64) { *own = Bytes(n) })
		return
	case *Duration:
		decodeText(d, v, path, parseDuration, func(t time.Duration) { *own = Duration(t) })
		return
	case encoding.TextUnmarshaler:
		d.unmarshalText(own, v, path)
		return
	}
	switch rv.Kind() {
	case reflect.Pointer:
		target := reflect.New(rv.Type().Elem())
		if !rv.IsNil() {
			target.Elem().Set(rv.Elem())
		}
		d.decode(target.Elem(), v, path, bytes)
		rv.Set(target)
	case reflect.Struct:
		d.structure(rv, v, path)
	case reflect.Map:
		d.dictionary(rv, v, path, bytes)
	case reflect.Slice:
		d.slice(rv, v, path, bytes)
	default:
		d.scalar(rv, v, path)
	}
}

// absent is what remains to be done where nothing is written: the defaults, if
// they are a struct, are still asked whether they make sense.
func (d *decoder) absent(rv reflect.Value, v *value, path string) {
	if rv.Kind() == reflect.Struct {
		if _, text := rv.Addr().Interface().(encoding.TextUnmarshaler); !text {
			d.structure(rv, &value{kind: mapping, key: v.key, pos: v.pos}, path)
		}
	}
}

// field is a field of a struct under the key that it goes by.
type field struct {
	rv          reflect.Value
	name        string
	bytes       bool
	unsupported bool
	hides       string
}

func fieldsOf(rv reflect.Value) []field {
	var out []field
	for i := range rv.NumField() {
		f := rv.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		opts := strings.Split(options, ",")
		switch {
		case f.Type == unsupportedType:
			out = append(out, field{name: name, unsupported: true, hides: f.Tag.Get("hides")})
			continue
		case !f.IsExported() || name == "-":
			continue
		case slices.Contains(opts, "inline") && f.Type.Kind() == reflect.Struct:
			out = append(out, fieldsOf(rv.Field(i))...)
			continue
		case name == "":
			name = strings.ToLower(f.Name)
		}
		out = append(out, field{rv: rv.Field(i), name: name, bytes: slices.Contains(opts, "bytes")})
	}
	return out
}

func (d *decoder) structure(rv reflect.Value, v *value, path string) {
	if v.kind != mapping {
		d.want(v, path, "a mapping")
		return
	}
	fields := fieldsOf(rv)
	var known []string
	for _, f := range fields {
		if !f.unsupported {
			known = append(known, f.name)
		}
	}
	seen := make(map[string]bool, len(v.entries))
	for _, e := range v.entries {
		at := join(path, e.name)
		i := slices.IndexFunc(fields, func(f field) bool { return e.is(f.name) })
		switch {
		case i < 0:
			d.problems.addf(e.at, at, "unknown key %q%s", clip(e.name), hint(e.name, known))
			if meant := nearest(e.name, known); meant != "" {
				d.fail(join(path, meant))
			}
		case fields[i].unsupported:
			d.failf(e.at, at, "%s is not supported in this version", e.name)
			if h := fields[i].hides; h != "" {
				d.fail(join(path, h))
			}
		default:
			seen[fields[i].name] = true
			d.decode(fields[i].rv, e.value, join(path, fields[i].name), fields[i].bytes)
		}
	}
	for _, f := range fields {
		if !f.unsupported && !seen[f.name] && f.rv.Kind() == reflect.Struct {
			d.decode(f.rv, &value{key: v.where(), pos: v.where()}, join(path, f.name), f.bytes)
		}
	}
	d.validate(rv, v, path)
}

func (d *decoder) dictionary(rv reflect.Value, v *value, path string, bytes bool) {
	if v.kind != mapping {
		d.want(v, path, "a mapping")
		return
	}
	t := rv.Type()
	if t.Key().Kind() != reflect.String {
		d.failf(v.where(), path, "cannot be decoded into %s: its keys are no strings", t)
		return
	}
	out := reflect.MakeMapWithSize(t, len(v.entries)) // a fresh one: the defaults may be shared
	for it := rv.MapRange(); it.Next(); {
		out.SetMapIndex(it.Key(), it.Value())
	}
	for _, e := range v.entries {
		at := join(path, e.name)
		key := reflect.ValueOf(e.name).Convert(t.Key())
		item := reflect.New(t.Elem()).Elem()
		if old := out.MapIndex(key); old.IsValid() {
			item.Set(old)
		} else if e.added == byEnvironment {
			d.failf(e.at, at, "the environment cannot add a name, as it does not tell upper from lower case: add it to the file, or use a flag")
			continue
		}
		d.decode(item, e.value, at, bytes)
		out.SetMapIndex(key, item)
	}
	rv.Set(out)
}

func (d *decoder) slice(rv reflect.Value, v *value, path string, bytes bool) {
	items := v.items
	switch {
	case v.kind == scalar && v.pos.Line == 0: // from a variable or flag, where the file has no list
		items = splitItems(v.data, func(text string) *value {
			item := *v
			item.data = text
			return &item
		})
	case v.kind != list:
		d.want(v, path, "a list")
		return
	}
	out := reflect.MakeSlice(rv.Type(), len(items), len(items))
	for i, item := range items {
		at := index(path, i)
		if item.kind == null && rv.Type().Elem().Kind() != reflect.Interface && rv.Type().Elem() != nodeType {
			d.failf(item.where(), at, "an item of a list cannot be empty")
			continue
		}
		d.decode(out.Index(i), item, at, bytes)
	}
	rv.Set(out)
}

// unmarshalText lets a type read a scalar itself. What it says about a value that
// may not be shown is not passed on: nobody knows what is in there.
func (d *decoder) unmarshalText(own encoding.TextUnmarshaler, v *value, path string) {
	if v.kind != scalar {
		d.want(v, path, "a single value")
		return
	}
	err := own.UnmarshalText([]byte(v.data))
	switch {
	case err == nil:
	case v.origin == document:
		d.failf(v.pos, path, "%s", clipMessage(err.Error()))
	default:
		d.failf(v.pos, path, "%s is not valid here", v.show())
	}
}

// decodeText reads a size or a duration.
func decodeText[T any](d *decoder, v *value, path string, parse func(string) (T, string), set func(T)) {
	if v.kind != scalar {
		d.want(v, path, "a single value")
		return
	}
	t, problem := parse(v.data)
	if problem != "" {
		d.failf(v.pos, path, "%s %s", v.show(), problem)
		return
	}
	set(t)
}

func (d *decoder) setSize(rv reflect.Value, n int64, v *value, path string) {
	switch {
	case rv.CanInt() && !rv.OverflowInt(n):
		rv.SetInt(n)
	case rv.CanUint() && !rv.OverflowUint(uint64(n)):
		rv.SetUint(uint64(n))
	default:
		d.failf(v.pos, path, "%s is too large here", v.show())
	}
}

func clipMessage(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s…", strings.ToValidUTF8(s[:most], ""))
}
