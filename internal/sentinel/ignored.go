package sentinel

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Ignored returns the fields of base, by their dotted paths and sorted, whose change
// changes nothing in what build makes of it. A field is given another value of its kind,
// or the one that others has for its path. Of lists and mappings of structs the first
// element is changed field by field: base must have one.
//
// What build returns is compared by [Print]. Two builds of base must be equal: Ignored
// panics if they are not, for then every field would seem to do something.
func Ignored[C any](base C, others map[string]any, build func(C) any) []string {
	same := Print(build(base))
	if again := Print(build(base)); again != same {
		panic(fmt.Sprintf("two builds of the same configuration differ:\n%s\n\n%s", same, again))
	}
	others = maps.Clone(others)
	var ignored []string
	for _, v := range variants(reflect.ValueOf(base), "", others) {
		if Print(build(v.value.Interface().(C))) == same {
			ignored = append(ignored, v.path)
		}
	}
	for path := range others {
		panic("no field has the path " + path)
	}
	slices.Sort(ignored)
	return ignored
}

// variant is a value with one field changed.
type variant struct {
	path  string
	value reflect.Value
}

// variants are those of v, which is at path. Those of others that were used are deleted.
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

// ofElements are a list or mapping with one more element, or, of structs, with the first
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

// with is a copy of the mapping m with an element set.
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
