package sdk

import (
	"reflect"
	"strings"
)

// Secrets returns the paths of the fields of config, a struct, that are tagged
// `secret:"true"`, such as "password", "tls.key" or "peers[].token": those of structs in
// it too. Hosts show neither what is there nor what is below.
func Secrets(config any) []string { return secrets(reflect.TypeOf(config), "", 8) }

func secrets(t reflect.Type, path string, depth int) (paths []string) {
	for ; t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice; t = t.Elem() {
		if t.Kind() == reflect.Slice {
			path += "[]"
		}
	}
	if t.Kind() != reflect.Struct || depth == 0 {
		return nil
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		if path != "" {
			name = path + "." + name
		}
		if f.Tag.Get("secret") == "true" {
			paths = append(paths, name)
			continue
		}
		paths = append(paths, secrets(f.Type, name, depth-1)...)
	}
	return paths
}
