package sentinel

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Print returns the content of a value as text, one scalar a line, including unexported
// fields and without functions and addresses. A [reflect.Value] is printed as the value that
// it holds.
func Print(v any) string {
	p := &printer{seen: map[visit]bool{}}
	value, ok := v.(reflect.Value)
	if !ok {
		value = reflect.ValueOf(v)
	}
	p.print("", value)
	return p.String()
}

type printer struct {
	strings.Builder
	seen map[visit]bool
}

type visit struct {
	at uintptr
	t  reflect.Type
}

func (p *printer) print(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Invalid, reflect.Func, reflect.UnsafePointer:
	case reflect.Chan:
		fmt.Fprintf(p, "%s: room for %d\n", path, v.Cap())
	case reflect.Interface:
		p.print(path, v.Elem())
	case reflect.Pointer:
		at := visit{v.Pointer(), v.Type()}
		if !v.IsNil() && !p.seen[at] {
			p.seen[at] = true
			p.print(path, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			p.print(join(path, v.Type().Field(i).Name), v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		fmt.Fprintf(p, "%s: %d\n", path, v.Len())
		for i := range v.Len() {
			p.print(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Map:
		p.mapping(path, v)
	default:
		fmt.Fprintf(p, "%s: %v\n", path, v)
	}
}

// mapping prints a mapping in the order of its keys' text.
func (p *printer) mapping(path string, v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(text(a), text(b)) })
	fmt.Fprintf(p, "%s: %d\n", path, len(keys))
	for _, k := range keys {
		p.print(fmt.Sprintf("%s[%s]", path, text(k)), v.MapIndex(k))
	}
}

// text returns a key as text.
func text(k reflect.Value) string {
	if k.Kind() == reflect.Pointer || k.Kind() == reflect.Interface {
		return k.Type().String() // its address says nothing
	}
	return fmt.Sprint(k)
}
