package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// settings are those of one layer, the environment or the flags, that are given a place
// among what the layers below hold.
type settings struct {
	*layers
	held  map[string]any    // by the layers below, and by the settings that have a place
	taken map[string]string // names of settings by their folded addresses
	adds  map[string]bool   // the owners that the layer adds
}

func (l *layers) newSettings() *settings {
	return &settings{layers: l, held: l.ko.Raw(), taken: map[string]string{}}
}

// spot is where a setting is looked for.
type spot struct {
	path  string         // in koanf
	shown string         // as errors name it
	in    map[string]any // what holds it
	key   string         // in that
}

func (at spot) held() any { return at.in[at.key] }

// below returns the spot of key in the mapping at this one.
func (at spot) below(key, shown string) spot {
	in, _ := at.held().(map[string]any)
	return spot{below(at.path, key), shown, in, key}
}

// place returns the path of a setting and its value for koanf, and notes where it comes
// from. What it adds on the way carries the setting's position, so that decoding names
// the variable or flag where a key is unknown. The path is empty if there is no such
// place.
func (t *settings) place(s setting) (path string, value any) {
	at := spot{in: map[string]any{"": t.held}}
	for i := range s.parts {
		if !t.open(s, at) {
			return "", nil
		}
		ok := false
		if at, ok = t.step(s, at, i); !ok {
			return "", nil
		}
	}
	if value = t.set(s, at); value == nil {
		return "", nil
	}
	at.in[at.key] = value
	return at.path, value
}

// open makes the value at a spot one that has something below it.
func (t *settings) open(s setting, at spot) bool {
	switch at.held().(type) {
	case nil:
		kind := strictyaml.Mapping
		if isPipeline(strings.Split(at.path, sep)) {
			kind = strictyaml.List
		}
		at.in[at.key] = map[string]any{}
		t.notes[at.path].Value = &strictyaml.Value{Kind: kind, Key: s.at, Pos: s.at}
	case string:
		t.problems.Addf(s.at, at.shown, "is a single value: nothing below it can be set")
		return false
	case []any:
		t.problems.Addf(s.at, at.shown, "is a list: set it as a whole, with commas")
		return false
	}
	return true
}

// step goes from a mapping, or a pipeline, to what the i-th part of a setting's address
// names in it.
func (t *settings) step(s setting, at spot, i int) (spot, bool) {
	if n := t.notes[at.path]; n != nil && n.Value.Kind == strictyaml.List {
		return t.stageNamed(s, at, i)
	}
	return t.keyNamed(s, at, i)
}

// keyNamed finds the key that a part means, or adds it where that is allowed.
func (t *settings) keyNamed(s setting, at spot, i int) (spot, bool) {
	in, part := at.held().(map[string]any), s.parts[i]
	var known []string
	var found child
	for _, c := range t.children(at.path, in) {
		known = append(known, c.note.Name)
		switch {
		case s.spelling == strictyaml.Loose && c.note.Name == part: // spelt exactly: no doubt
			return at.below(c.key, strictyaml.Key(at.shown, part)), true
		case strictyaml.Fold(c.note.Name) != strictyaml.Fold(part):
		case found.note != nil:
			t.problems.Addf(s.at, at.shown, "%q could mean %q and %q", part, found.note.Name, c.note.Name)
			return spot{}, false
		default:
			found = c
		}
	}
	if found.note == nil {
		e, ok := t.added(s, at.shown, i, known)
		if !ok {
			return spot{}, false
		}
		in[e.Name] = nil
		found = child{key: e.Name, note: t.note(below(at.path, e.Name), e)}
	}
	n := found.note
	if n.Spelling == strictyaml.Lost && s.spelling == strictyaml.Loose { // now it is known
		n.Name, n.Spelling, n.At = part, s.spelling, s.at
	}
	return at.below(found.key, strictyaml.Key(at.shown, n.Name)), true
}

// added returns the key that a setting adds as its i-th part. A store is added only with
// its backend, and a plugin with what runs it, so that a misspelt name adds nothing.
func (t *settings) added(s setting, shown string, i int, known []string) (strictyaml.Entry, bool) {
	e := strictyaml.Entry{Name: s.parts[i], Spelling: s.spelling, At: s.at, Value: &strictyaml.Value{Key: s.at, Pos: s.at}}
	section := strictyaml.Fold(s.parts[0])
	if i != 1 || section != "plugins" && section != "stores" {
		return e, true
	}
	if section == "plugins" {
		if builtin := slices.IndexFunc(t.builtins, func(b string) bool { return strictyaml.Fold(b) == strictyaml.Fold(e.Name) }); builtin >= 0 {
			e.Name, e.Spelling = t.builtins[builtin], strictyaml.Exact
			return e, true
		}
	}
	switch {
	case t.adds[s.owner()]:
		e.Spelling = strictyaml.Exact
		return e, true
	case section == "plugins":
		known = append(known, t.builtins...)
		t.problems.Addf(s.at, shown, "unknown plugin %q%s%s", e.Name, Hint(e.Name, known), s.toAdd("plugin", known, "wasm"))
	default:
		t.problems.Addf(s.at, shown, "unknown store %q%s%s", e.Name, Hint(e.Name, known), s.toAdd("store", known, "backend", "plugin"))
	}
	return e, false
}

// owner returns the folded address of the store or plugin that a setting is about.
func (s setting) owner() string { return strictyaml.Fold(strings.Join(s.parts[:2], sep)) }

// owners returns the owners that settings of a layer can add: stores with a backend, and
// plugins with what runs them.
func owners(all []setting) map[string]bool {
	out := map[string]bool{}
	for _, s := range all {
		parts := strings.Split(s.address(), sep)
		if len(parts) < 3 {
			continue
		}
		switch key := strings.Join(parts[2:], "."); {
		case parts[0] == "stores" && (key == "backend.plugin" || key == "backend.store"),
			parts[0] == "plugins" && (key == "wasm" || key == "process.command" || key == "remote"):
			out[s.owner()] = true
		}
	}
	return out
}

// toAdd returns the end of a message about an unknown name: what adds it. It is empty
// if a known name was probably meant.
func (s setting) toAdd(what string, known []string, key ...string) string {
	if strictyaml.Nearest(s.parts[1], known) != "" {
		return ""
	}
	parts := append(slices.Clone(s.parts[:2]), key...)
	how := "use --set " + strings.Join(parts, ".")
	if s.origin == strictyaml.Environment {
		how = "set " + prefix + strings.ToUpper(strings.Join(parts, "__"))
	}
	return fmt.Sprintf("; to add a %s, %s", what, strictyaml.Clip(how))
}

// stageNamed finds the stage that a part names, of which a setting sets a key. A stage that
// is not in the pipeline becomes its innermost, unless the name of another was probably
// meant.
func (t *settings) stageNamed(s setting, at spot, i int) (spot, bool) {
	part := s.parts[i]
	var known []string
	var found []child
	for _, c := range t.children(at.path, at.held().(map[string]any)) {
		name := c.note.stage.name
		if name == "" {
			continue
		}
		known = append(known, name)
		if strictyaml.Fold(name) == strictyaml.Fold(part) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		if i == len(s.parts)-1 || strictyaml.Nearest(part, known) != "" {
			t.problems.Addf(s.at, at.shown, "unknown stage %q%s", part, Hint(part, known))
			return spot{}, false
		}
		found = append(found, t.addStage(s, at, part))
	case 1:
	default:
		t.problems.Addf(s.at, at.shown, "%q could mean two stages", part)
		return spot{}, false
	}
	n := found[0].note
	shown := strictyaml.Key(strictyaml.Item(at.shown, n.stage.index), n.Name)
	switch {
	case i == len(s.parts)-1:
		t.problems.Addf(s.at, shown, "is a stage: set a key of it")
		return spot{}, false
	case strictyaml.Fold(s.parts[i+1]) == "name":
		t.problems.Addf(s.at, shown, "the name of stage %q cannot be set from here", n.stage.name)
		return spot{}, false
	}
	return at.below(found[0].key, shown), true
}

// addStage adds a stage below the others of a pipeline.
func (t *settings) addStage(s setting, at spot, kind string) child {
	in := at.held().(map[string]any)
	path := below(at.path, kind)
	n := t.note(path, strictyaml.Entry{Name: kind, At: s.at, Value: &strictyaml.Value{Key: s.at, Pos: s.at}})
	n.stage = &stage{len(in), &strictyaml.Value{Kind: strictyaml.Mapping, Key: s.at, Pos: s.at}, kind}
	in[kind] = nil
	return child{kind, path, n}
}

// set returns the value of a setting for koanf, and notes it. A list of plain values is
// written with commas; nothing else that has structure can be set.
func (t *settings) set(s setting, at spot) any {
	n := t.notes[at.path]
	switch held := at.held().(type) {
	case map[string]any:
		if n.Value.Kind == strictyaml.List {
			t.problems.Addf(s.at, at.shown, "is a list with structure: it cannot be set from here")
			return nil
		}
		var keys []string
		for key := range held {
			keys = append(keys, t.notes[below(at.path, key)].Name)
		}
		t.problems.Addf(s.at, at.shown, "is a mapping: set a key of it, one of %s", strictyaml.Names(keys))
		return nil
	case []any:
		if slices.ContainsFunc(n.Value.Items, func(i *strictyaml.Value) bool { return i.Kind == strictyaml.List || i.Kind == strictyaml.Mapping }) {
			t.problems.Addf(s.at, at.shown, "is a list with structure: it cannot be set from here")
			return nil
		}
		n.Value = &strictyaml.Value{Kind: strictyaml.List, Key: s.at, Pos: s.at, Items: strictyaml.SplitList(s.text, s.scalar)}
	default:
		n.Value = s.scalar(s.text)
	}
	return plain(n.Value)
}

// scalar is text as the setting says it.
func (s setting) scalar(text string) *strictyaml.Value {
	v := &strictyaml.Value{Kind: strictyaml.Scalar, Key: s.at, Pos: s.at, Text: text, Plain: true, Origin: s.origin}
	v.SetData(text)
	return v
}
