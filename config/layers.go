package config

import (
	"cmp"
	"slices"
	"strings"

	kmaps "github.com/knadh/koanf/maps"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// sep is between the names of a path in koanf. No key, variable or flag holds it.
const sep = "\x00"

// maxPaths bounds what a file of deep mappings costs: koanf keeps each path several
// times.
const maxPaths = 16 << 20 // bytes

// layers holds the values of a configuration, by their paths in koanf, which decides whose
// value stands. A pipeline is a mapping there, from the names of its stages to their
// settings.
//
// Next to them, by the same paths, is what koanf does not know: where each value was
// written and how, and in which order.
type layers struct {
	ko       *koanf.Koanf
	notes    map[string]*note
	written  int      // notes so far
	paths    int      // bytes of the paths of documents
	builtins []string // plugins that need no entry to be known
	problems *strictyaml.Problems
}

// note holds what is known of a path in addition to its value. The entry's value has the
// kind and the positions, but for a scalar or a list not what koanf holds, and for a
// mapping no entries.
type note struct {
	strictyaml.Entry
	order int
	stage *stage // of a path below a pipeline
}

// merge lays the layers over each other and returns the tree of what stands, not yet
// resolved.
func merge(defaults, file *strictyaml.Value, environ environ, flags map[string]string, builtins []string, p *strictyaml.Problems) (*strictyaml.Value, error) {
	l := &layers{ko: koanf.New(sep), notes: map[string]*note{}, builtins: builtins, problems: p}
	if err := l.ko.Load(confmap.Provider(l.document(defaults), ""), nil); err != nil {
		return nil, err
	}
	if err := l.ko.Load(confmap.Provider(l.document(file), ""), nil, koanf.WithMergeFunc(overDefaults)); err != nil {
		return nil, err
	}
	set := flagSettings(flags, p)
	if err := l.variables(environ, set); err != nil {
		return nil, err
	}
	if err := l.flags(set); err != nil {
		return nil, err
	}
	return l.mapping(&strictyaml.Value{Kind: strictyaml.Mapping}, "", l.ko.Raw()), nil
}

// overDefaults lays a file over the defaults: its stores replace the built-in ones as a
// whole.
func overDefaults(file, defaults map[string]any) error {
	if _, named := file["stores"]; named {
		delete(defaults, "stores")
	}
	kmaps.Merge(file, defaults)
	return nil
}

// document returns a parsed document for koanf, and notes its positions.
func (l *layers) document(root *strictyaml.Value) map[string]any {
	if root == nil || root.Kind != strictyaml.Mapping {
		return map[string]any{}
	}
	return l.keys(root, "")
}

func (l *layers) keys(v *strictyaml.Value, path string) map[string]any {
	out := make(map[string]any, len(v.Entries))
	for _, e := range v.Entries {
		at := below(path, e.Name)
		if l.paths += len(at); l.paths > maxPaths {
			l.problems.Addf(e.At, "", "has more keys, or deeper ones, than a configuration may have: their paths are longer than %d bytes together", maxPaths)
			break
		}
		if e.Value.Kind == strictyaml.Null && unwritten(at) {
			continue
		}
		l.note(at, e)
		out[e.Name] = l.value(e.Value, at)
	}
	return out
}

func (l *layers) value(v *strictyaml.Value, path string) any {
	switch {
	case v.Kind == strictyaml.Mapping:
		return l.keys(v, path)
	case v.Kind == strictyaml.List && isPipeline(strings.Split(path, sep)):
		return l.stages(v, path)
	}
	return plain(v)
}

// unwritten reports whether a key without a value counts as not written, because what
// is below it is merged.
func unwritten(path string) bool {
	section, rest, _ := strings.Cut(path, sep)
	levels := strings.Count(rest, sep) + 1
	if rest == "" {
		levels = 0
	}
	switch section {
	case "server":
		return levels <= 2
	case "telemetry", "reload", "log":
		return levels <= 1
	case "plugins":
		return levels == 0
	}
	return false
}

// note keeps what koanf does not know of a path, which the last layer to say it orders.
func (l *layers) note(path string, e strictyaml.Entry) *note {
	l.written++
	n := &note{Entry: e, order: l.written}
	l.notes[path] = n
	return n
}

func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + sep + name
}

// child is a key below a path, by its name in koanf.
type child struct {
	key, path string
	note      *note
}

// children returns the keys below path in held, in their order.
func (l *layers) children(path string, held map[string]any) []child {
	out := make([]child, 0, len(held))
	for key := range held {
		at := below(path, key)
		out = append(out, child{key, at, l.notes[at]})
	}
	slices.SortFunc(out, func(a, b child) int { return cmp.Compare(a.note.order, b.note.order) })
	return out
}

// tree returns the value at path: what koanf holds, where it was noted.
func (l *layers) tree(path string, held any) *strictyaml.Value {
	v := l.notes[path].Value
	mapping, ok := held.(map[string]any)
	switch {
	case !ok:
		return noted(v, held)
	case v.Kind == strictyaml.List:
		return l.pipeline(v, path, mapping)
	}
	return l.mapping(v, path, mapping)
}

func (l *layers) mapping(v *strictyaml.Value, path string, held map[string]any) *strictyaml.Value {
	out := *v
	out.Entries = nil
	for _, c := range l.children(path, held) {
		e := c.note.Entry
		e.Value = l.tree(c.path, held[c.key])
		out.Entries = append(out.Entries, e)
	}
	return &out
}

// plain returns v without its positions, as koanf holds what it does not merge.
func plain(v *strictyaml.Value) any {
	switch v.Kind {
	case strictyaml.Scalar:
		return v.Text
	case strictyaml.List:
		out := make([]any, len(v.Items))
		for i, item := range v.Items {
			out[i] = plain(item)
		}
		return out
	case strictyaml.Mapping:
		out := make(map[string]any, len(v.Entries))
		for _, e := range v.Entries {
			out[e.Name] = plain(e.Value)
		}
		return out
	}
	return nil
}

// noted does the opposite: it returns held with the positions of v.
func noted(v *strictyaml.Value, held any) *strictyaml.Value {
	out := *v
	switch held := held.(type) {
	case string:
		out.Text = held
		out.SetData(held)
	case []any:
		out.Items = make([]*strictyaml.Value, len(held))
		for i, item := range held {
			out.Items[i] = noted(v.Items[i], item)
		}
	case map[string]any:
		out.Entries = slices.Clone(v.Entries)
		for i, e := range out.Entries {
			out.Entries[i].Value = noted(e.Value, held[e.Name])
		}
	}
	return &out
}
