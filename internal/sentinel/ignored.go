package sentinel

import (
	"encoding"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Ignored returns the fields of base, by their dotted paths and sorted, whose change
// changes nothing in what build makes of it. A field is given another value of its kind,
// or the one that others has for its path. Of lists and mappings of structs the first
// element is changed field by field: base must have one.
//
// What build returns is compared by [Print], without the lines that differ between two
// builds of base, such as random seeds.
func Ignored[C any](base C, others map[string]any, build func(C) any) []string {
	same, noise := lines(build(base)), map[string]bool{}
	for range 3 {
		again := lines(build(base))
		for path := range differ(same, again) {
			noise[path] = true
		}
	}
	others = maps.Clone(others)
	var ignored []string
	for _, v := range variants(reflect.ValueOf(base), "", others) {
		found := false
		for path := range differ(same, lines(build(v.value.Interface().(C)))) {
			found = found || !noise[path]
		}
		if !found {
			ignored = append(ignored, v.path)
		}
	}
	for path := range others {
		panic("no field has the path " + path)
	}
	slices.Sort(ignored)
	return ignored
}

// lines returns the lines of what was built, by their paths.
func lines(built any) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(Print(built)) {
		path, value, _ := strings.Cut(line, ": ")
		all[path] += value
	}
	return all
}

// differ returns the paths at which a and b differ.
func differ(a, b map[string]string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for path := range a {
			if other, ok := b[path]; (!ok || other != a[path]) && !yield(path) {
				return
			}
		}
		for path := range b {
			if _, ok := a[path]; !ok && !yield(path) {
				return
			}
		}
	}
}

// variant is a value with one field changed.
type variant struct {
	path  string
	value reflect.Value
}

// variants returns those of v, which is at path. Those of others that were used are deleted.
func variants(v reflect.Value, path string, others map[string]any) []variant {
	if other, ok := others[path]; ok {
		delete(others, path)
		return []variant{{path, reflect.ValueOf(other).Convert(v.Type())}}
	}
	changed := reflect.New(v.Type()).Elem()
	changed.Set(v)
	switch v.Kind() {
	case reflect.Struct:
		return ofStruct(v, path, others)
	case reflect.Slice, reflect.Map:
		return ofElements(v, path, others)
	case reflect.Bool:
		changed.SetBool(!v.Bool())
	case reflect.String:
		changed.SetString(v.String() + "sentinel")
	case reflect.Int, reflect.Int64:
		changed.SetInt(v.Int() + 1)
	case reflect.Uint64:
		changed.SetUint(v.Uint() + 1)
	case reflect.Float64:
		changed.SetFloat(v.Float() + 0.25)
	case reflect.Pointer:
		changed.Set(reflect.New(v.Type().Elem()))
		text, ok := changed.Interface().(encoding.TextUnmarshaler)
		if !ok || text.UnmarshalText([]byte("sentinel")) != nil {
			panic(fmt.Sprintf("%s: no sentinel for a %s", path, v.Type()))
		}
	default:
		panic(fmt.Sprintf("%s: no sentinel for a %s", path, v.Type()))
	}
	return []variant{{path, changed}}
}

func ofStruct(v reflect.Value, path string, others map[string]any) (all []variant) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		at := path
		if !f.Anonymous {
			at = join(path, f.Name)
		}
		for _, one := range variants(v.Field(i), at, others) {
			whole := reflect.New(v.Type()).Elem()
			whole.Set(v)
			whole.Field(i).Set(one.value)
			all = append(all, variant{one.path, whole})
		}
	}
	return all
}

// ofElements returns a list or mapping with one more element, or, of structs, with the first
// one changed.
func ofElements(v reflect.Value, path string, others map[string]any) (all []variant) {
	element := v.Type().Elem()
	if element.Kind() != reflect.Struct {
		one := variants(reflect.New(element).Elem(), path, others)[0]
		if v.Kind() == reflect.Slice {
			return []variant{{path, reflect.Append(clip(v), one.value)}}
		}
		return []variant{{path, with(v, reflect.ValueOf("sentinel"), one.value)}}
	}
	if v.Len() == 0 {
		panic(path + ": the base has no element to change")
	}
	if v.Kind() == reflect.Map {
		key := v.MapKeys()[0]
		for _, one := range variants(v.MapIndex(key), path, others) {
			all = append(all, variant{one.path, with(v, key, one.value)})
		}
		return all
	}
	for _, one := range variants(v.Index(0), path, others) {
		whole := reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v)
		whole.Index(0).Set(one.value)
		all = append(all, variant{one.path, whole})
	}
	return all
}

// clip has an append copy v.
func clip(v reflect.Value) reflect.Value { return v.Slice3(0, v.Len(), v.Len()) }

// with returns a copy of the mapping m with an element set.
func with(m, key, element reflect.Value) reflect.Value {
	whole := reflect.MakeMap(m.Type())
	for _, k := range m.MapKeys() {
		whole.SetMapIndex(k, m.MapIndex(k))
	}
	whole.SetMapIndex(key, element)
	return whole
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
