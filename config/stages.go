package config

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// stage holds what is known of a stage in addition to its settings.
type stage struct {
	index int
	item  *strictyaml.Value // as written: a bare kind, a mapping of one key, or neither
	name  string            // what it goes by; empty if it is no stage
}

// isPipeline reports whether parts name the pipeline of a store.
func isPipeline(parts []string) bool {
	return len(parts) == 3 && strictyaml.Fold(parts[0]) == "stores" && strictyaml.Fold(parts[2]) == "pipeline"
}

// stages returns a pipeline for koanf, by the names of its stages. A stage with a duplicate
// name, or with none, gets a name that cannot be written in a file: the decoder reports
// it.
func (l *layers) stages(v *strictyaml.Value, path string) map[string]any {
	out := make(map[string]any, len(v.Items))
	for i, item := range v.Items {
		settings, name := stageOf(item)
		key := name
		if _, twice := out[key]; twice || name == "" {
			key = name + "\x01" + strconv.Itoa(i)
		}
		at := below(path, key)
		l.note(at, settings).stage = &stage{i, item, name}
		if out[key] = plain(item); name != "" {
			out[key] = l.value(settings.Value, at)
		}
	}
	return out
}

// stageOf returns the kind of a stage with its settings, and the name that it goes by; the
// item itself and no name for what is no stage.
func stageOf(item *strictyaml.Value) (settings strictyaml.Entry, name string) {
	switch {
	case item.Broken:
	case item.Kind == strictyaml.Scalar && canName(item.Data()):
		return strictyaml.Entry{Name: item.Data(), At: item.Pos, Value: &strictyaml.Value{Key: item.Pos, Pos: item.Pos}}, item.Data()
	case item.Kind == strictyaml.Mapping && len(item.Entries) == 1:
		e := item.Entries[0]
		name = e.Name
		if n := e.Value.Get("name"); n != nil && n.Kind == strictyaml.Scalar {
			name = n.Data()
		}
		if canName(name) {
			return e, name
		}
	}
	return strictyaml.Entry{Value: item}, ""
}

// canName reports whether a stage can be addressed by s, as keys can.
func canName(s string) bool {
	return s != "" && len(s) <= strictyaml.MaxKey && !strings.ContainsFunc(s, unicode.IsControl)
}

// pipeline returns the list of the stages at path.
func (l *layers) pipeline(v *strictyaml.Value, path string, held map[string]any) *strictyaml.Value {
	out := *v
	out.Items = nil
	for _, c := range l.children(path, held) {
		out.Items = append(out.Items, l.stage(c, held[c.key]))
	}
	return &out
}

func (l *layers) stage(c child, held any) *strictyaml.Value {
	item := c.note.stage.item
	switch {
	case c.note.stage.name == "":
		return noted(item, held)
	case item.Kind == strictyaml.Scalar && held == nil:
		return item // a bare kind
	}
	e := c.note.Entry
	e.Value = l.tree(c.path, held)
	return &strictyaml.Value{Kind: strictyaml.Mapping, Key: item.Key, Pos: item.Pos, Entries: []strictyaml.Entry{e}}
}
