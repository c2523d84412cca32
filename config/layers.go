package config

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/knadh/koanf/v2"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// The layers go through koanf: each is a provider of its own, and koanf decides
// which layer's value stands. What it is given are numbers of units — whole
// values with their positions — at the depth to which layers are merged, because
// koanf itself knows neither positions nor lists of stages.
const (
	// self is the key under which a map says which unit describes the map itself.
	// No YAML key, variable or flag can hold a NUL.
	self = "\x00"

	documents = "documents" // what the defaults and the file say
	settings  = "settings"  // what environment and flags say
)

// units are the values that koanf is given the numbers of.
type units struct {
	entries  []strictyaml.Entry
	settings []setting
}

func (u *units) entry(e strictyaml.Entry) int {
	u.entries = append(u.entries, e)
	return len(u.entries) - 1
}

// documentLayer is a parsed document as a koanf provider.
type documentLayer struct {
	units *units
	root  *strictyaml.Value
}

var errNoBytes = errors.New("config: this layer has no bytes")

func (l documentLayer) ReadBytes() ([]byte, error) { return nil, errNoBytes }

func (l documentLayer) Read() (map[string]any, error) {
	out := map[string]any{}
	if l.root != nil && l.root.Kind == strictyaml.Mapping {
		out = l.merged(strictyaml.Entry{At: l.root.Key, Value: l.root}, map[string]int{"server": 2, "plugins": 1, "telemetry": 1})
	}
	return map[string]any{documents: out}, nil
}

// merged gives each key of e its own unit. The keys in deeper are merged that many
// levels further down; where a key is merged, one without a value is left out, so
// that it hides nothing.
func (l documentLayer) merged(e strictyaml.Entry, deeper map[string]int) map[string]any {
	out := map[string]any{self: l.units.entry(e)}
	for _, child := range e.Value.Entries {
		levels := deeper[child.Name]
		switch {
		case levels > 0 && child.Value.Kind == strictyaml.Null:
		case levels > 0 && child.Value.Kind == strictyaml.Mapping:
			out[child.Name] = l.level(child, levels)
		default:
			out[child.Name] = l.units.entry(child)
		}
	}
	return out
}

func (l documentLayer) level(e strictyaml.Entry, levels int) map[string]any {
	if levels == 1 {
		out := map[string]any{self: l.units.entry(e)}
		for _, child := range e.Value.Entries {
			if child.Value.Kind != strictyaml.Null || e.Name == "plugins" {
				out[child.Name] = l.units.entry(child)
			}
		}
		return out
	}
	deeper := make(map[string]int, len(e.Value.Entries))
	for _, child := range e.Value.Entries {
		deeper[child.Name] = levels - 1
	}
	return l.merged(e, deeper)
}

// build is the tree of what koanf was left with.
func (u *units) build(m map[string]any) strictyaml.Entry {
	e := strictyaml.Entry{Value: &strictyaml.Value{Kind: strictyaml.Mapping}}
	if n, ok := m[self].(int); ok {
		e = u.entries[n]
		root := *e.Value
		root.Entries = nil
		e.Value = &root
	}
	type numbered struct {
		strictyaml.Entry
		order int
	}
	var children []numbered
	for name, x := range m {
		switch x := x.(type) {
		case int:
			if name != self {
				children = append(children, numbered{u.entries[x], x})
			}
		case map[string]any:
			order, _ := x[self].(int)
			children = append(children, numbered{u.build(x), order})
		}
	}
	slices.SortFunc(children, func(a, b numbered) int { return cmp.Compare(a.order, b.order) })
	for _, c := range children {
		e.Value.Entries = append(e.Value.Entries, c.Entry)
	}
	return e
}

// merge lays the layers over each other and answers the tree, not yet resolved.
func merge(defaults, file *strictyaml.Value, env environ, flags map[string]string, builtins []string, p *strictyaml.Problems) (*strictyaml.Value, error) {
	u := new(units)
	ko := koanf.New(self)
	for _, layer := range []koanf.Provider{
		documentLayer{u, defaults},
		documentLayer{u, file},
		settingsLayer{u, env.settings(p)},
		settingsLayer{u, flagSettings(flags, p)},
	} {
		if err := ko.Load(layer, nil); err != nil {
			return nil, err
		}
	}
	all := ko.Raw()
	docs, _ := all[documents].(map[string]any)
	root := u.build(docs).Value
	o := overlay{root: root, builtins: builtins, problems: p}
	set, _ := all[settings].(map[string]any)
	for _, n := range numbers(set) {
		o.apply(u.settings[n])
	}
	return root, nil
}

// numbers are the settings that koanf was left with, in the order of the layers.
func numbers(m map[string]any) []int {
	var out []int
	for _, x := range slices.Collect(maps.Values(m)) {
		switch x := x.(type) {
		case int:
			out = append(out, x)
		case map[string]any:
			out = append(out, numbers(x)...)
		}
	}
	slices.Sort(out)
	return out
}
