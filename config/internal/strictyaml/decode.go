package strictyaml

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Decoder decodes one tree and collects the problems. The zero value is ready.
type Decoder struct {
	Problems Problems
	failed   map[string]bool // paths with an error, so that a Validate does not repeat it
}

// Unmarshaler decodes its node itself. Its errors are [*Error]s, [Errors] or joined ones;
// the decoder does not look at what they are about.
type Unmarshaler interface {
	UnmarshalNode(n *Node) error
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	nodeType     = reflect.TypeFor[*Node]()
)

// Failf reports a problem at path; a later problem of a Validate at path is ignored.
func (d *Decoder) Failf(pos Position, path, format string, args ...any) {
	d.Problems.Addf(pos, path, format, args...)
	d.fail(path)
}

func (d *Decoder) fail(path string) {
	if d.failed == nil {
		d.failed = make(map[string]bool)
	}
	d.failed[path] = true
}

// take reports errors of another decoder or check.
func (d *Decoder) take(err error) {
	var p Problems
	p.Take(err)
	for _, e := range p.list {
		d.Failf(e.Pos, e.Path, "%s", e.Message)
	}
}

// Want reports that v has the wrong type: wanted is a noun, as in "a mapping".
func (d *Decoder) Want(v *Value, path, wanted string) {
	d.Failf(v.Where(), path, "expected %s, got %s", wanted, v.Describe())
}

// Decode decodes v, which is at path, into the value that into points to; see
// [Node.Decode]. Problems go to d.
func (d *Decoder) Decode(into any, v *Value, path string) {
	rv := reflect.ValueOf(into)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		d.Failf(v.Where(), path, "cannot be decoded into %T: expected a pointer", into)
		return
	}
	d.decode(rv.Elem(), v, path, false)
}

// decode reads v into rv, which can be set. bytes says that an integer is a size.
func (d *Decoder) decode(rv reflect.Value, v *Value, path string, bytes bool) {
	if v.Broken {
		d.fail(path)
		return
	}
	if rv.Type() == nodeType {
		rv.Set(reflect.ValueOf(&Node{v, path}))
		return
	}
	if own, ok := rv.Addr().Interface().(Unmarshaler); ok {
		d.take(own.UnmarshalNode(&Node{v, path}))
		return
	}
	if v.Kind == Null {
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
func (d *Decoder) absent(rv reflect.Value, v *Value, path string) {
	if rv.Kind() == reflect.Struct {
		if _, text := rv.Addr().Interface().(encoding.TextUnmarshaler); !text {
			d.structure(rv, &Value{Kind: Mapping, Key: v.Key, Pos: v.Pos}, path)
		}
	}
}

// field is a field of a struct under the key that it goes by.
type field struct {
	rv    reflect.Value
	name  string
	bytes bool
}

func fieldsOf(rv reflect.Value) []field {
	var out []field
	for i := range rv.NumField() {
		f := rv.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		opts := strings.Split(options, ",")
		switch {
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

func (d *Decoder) structure(rv reflect.Value, v *Value, path string) {
	if v.Kind != Mapping {
		d.Want(v, path, "a mapping")
		return
	}
	fields := fieldsOf(rv)
	var known []string
	for _, f := range fields {
		known = append(known, f.name)
	}
	seen := make(map[string]bool, len(v.Entries))
	for _, e := range v.Entries {
		at := Key(path, e.Name)
		i := slices.IndexFunc(fields, func(f field) bool { return e.Is(f.name) })
		switch {
		case i < 0:
			d.Problems.Addf(e.At, at, "unknown key %q%s", Clip(e.Name), Hint(e.Name, known))
			if meant := Nearest(e.Name, known); meant != "" {
				d.fail(Key(path, meant))
			}
		default:
			seen[fields[i].name] = true
			d.decode(fields[i].rv, e.Value, Key(path, fields[i].name), fields[i].bytes)
		}
	}
	for _, f := range fields {
		if !seen[f.name] && f.rv.Kind() == reflect.Struct {
			d.decode(f.rv, &Value{Key: v.Where(), Pos: v.Where()}, Key(path, f.name), f.bytes)
		}
	}
	d.validate(rv, v, path)
}

func (d *Decoder) dictionary(rv reflect.Value, v *Value, path string, bytes bool) {
	if v.Kind != Mapping {
		d.Want(v, path, "a mapping")
		return
	}
	t := rv.Type()
	if t.Key().Kind() != reflect.String {
		d.Failf(v.Where(), path, "cannot be decoded into %s: its keys are no strings", t)
		return
	}
	out := reflect.MakeMapWithSize(t, len(v.Entries)) // a fresh one: the defaults may be shared
	for it := rv.MapRange(); it.Next(); {
		out.SetMapIndex(it.Key(), it.Value())
	}
	for _, e := range v.Entries {
		at := Key(path, e.Name)
		key := reflect.ValueOf(e.Name).Convert(t.Key())
		item := reflect.New(t.Elem()).Elem()
		if old := out.MapIndex(key); old.IsValid() {
			item.Set(old)
		} else if e.Spelling == Lost {
			d.Failf(e.At, at, "the environment cannot add a name, as it does not tell upper from lower case: add it to the file, or use a flag")
			continue
		}
		d.decode(item, e.Value, at, bytes)
		out.SetMapIndex(key, item)
	}
	rv.Set(out)
}

func (d *Decoder) slice(rv reflect.Value, v *Value, path string, bytes bool) {
	items := v.Items
	switch {
	case v.Kind == Scalar && v.Pos.Line == 0: // from a variable or flag, where the file has no list
		items = SplitList(v.Data(), func(text string) *Value {
			item := *v
			item.data, item.sealed = text, sealed{}
			return &item
		})
	case v.Kind != List:
		d.Want(v, path, "a list")
		return
	}
	out := reflect.MakeSlice(rv.Type(), len(items), len(items))
	for i, item := range items {
		at := Item(path, i)
		if item.Kind == Null && rv.Type().Elem().Kind() != reflect.Interface && rv.Type().Elem() != nodeType {
			d.Failf(item.Where(), at, "an item of a list cannot be empty")
			continue
		}
		d.decode(out.Index(i), item, at, bytes)
	}
	rv.Set(out)
}

// SplitList splits text at its commas into a list. An empty text is an empty list.
func SplitList(text string, one func(string) *Value) []*Value {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	var items []*Value
	for part := range strings.SplitSeq(text, ",") {
		items = append(items, one(strings.TrimSpace(part)))
	}
	return items
}

// unmarshalText lets a type read a scalar itself. If the value must not be shown, its error
// is not passed on, because it may contain the value.
func (d *Decoder) unmarshalText(own encoding.TextUnmarshaler, v *Value, path string) {
	if v.Kind != Scalar {
		d.Want(v, path, "a single value")
		return
	}
	err := own.UnmarshalText([]byte(v.Data()))
	switch {
	case err == nil:
	case v.Origin == Document && v.Masked == "":
		d.Failf(v.Pos, path, "%s", clipMessage(err.Error()))
	default:
		d.Failf(v.Pos, path, "%s is not valid here", v.Show())
	}
}

// decodeText reads a size or a duration.
func decodeText[T any](d *Decoder, v *Value, path string, parse func(string) (T, string), set func(T)) {
	if v.Kind != Scalar {
		d.Want(v, path, "a single value")
		return
	}
	t, problem := parse(v.Data())
	if problem != "" {
		d.Failf(v.Pos, path, "%s %s", v.Show(), problem)
		return
	}
	set(t)
}

func (d *Decoder) setSize(rv reflect.Value, n int64, v *Value, path string) {
	switch {
	case rv.CanInt() && !rv.OverflowInt(n):
		rv.SetInt(n)
	case rv.CanUint() && !rv.OverflowUint(uint64(n)):
		rv.SetUint(uint64(n))
	default:
		d.Failf(v.Pos, path, "%s is too large here", v.Show())
	}
}

func clipMessage(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s…", strings.ToValidUTF8(s[:most], ""))
}
