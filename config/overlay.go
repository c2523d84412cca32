package config

import (
	"slices"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// overlay puts settings into the merged tree, in place.
type overlay struct {
	root     *strictyaml.Value
	builtins []string // plugins that need no entry to be known
	problems *strictyaml.Problems
}

// apply sets one value. Whatever it makes on the way (a mapping where there was
// nothing) carries the setting's position, so that the strict decoding that comes
// later names the variable or flag where a key is unknown.
func (o *overlay) apply(s setting) {
	v, path := o.root, ""
	for i, part := range s.parts {
		last := i == len(s.parts)-1
		if v.Kind == strictyaml.List && isPipeline(s.parts[:i]) {
			stage, at := o.stage(s, v, part, path, last)
			if stage == nil {
				return
			}
			v, path = stage, at
			continue
		}
		switch v.Kind {
		case strictyaml.Null:
			*v = strictyaml.Value{Kind: strictyaml.Mapping, Key: s.at, Pos: s.at}
		case strictyaml.Scalar:
			o.problems.Addf(s.at, path, "is a single value: nothing below it can be set")
			return
		case strictyaml.List:
			o.problems.Addf(s.at, path, "is a list: set it as a whole, with commas")
			return
		}
		e := o.entry(s, v, part, path, i)
		if e == nil {
			return
		}
		v, path = e.Value, strictyaml.Key(path, e.Name)
	}
	o.set(s, v, path)
}

// entry finds the key that part means below a mapping, or adds it where that is
// allowed.
func (o *overlay) entry(s setting, v *strictyaml.Value, part, path string, depth int) *strictyaml.Entry {
	known := entryNames(v.Entries)
	found := -1
	for i, e := range v.Entries {
		switch {
		case s.added == strictyaml.Loose && e.Name == part: // spelt exactly: no doubt
			return &v.Entries[i]
		case strictyaml.Fold(e.Name) != strictyaml.Fold(part):
		case found >= 0:
			o.problems.Addf(s.at, path, "%q could mean %q and %q", part, v.Entries[found].Name, e.Name)
			return nil
		default:
			found = i
		}
	}
	if found >= 0 {
		return &v.Entries[found]
	}
	name, by := part, s.added
	if depth == 1 && strictyaml.Fold(s.parts[0]) == "plugins" {
		for _, b := range o.builtins {
			if strictyaml.Fold(b) == strictyaml.Fold(part) {
				name, by = b, strictyaml.Exact // its spelling is known
			}
		}
		if !slices.Contains(o.builtins, name) {
			o.problems.Addf(s.at, path, "there is no plugin %q%s", part, Hint(part, append(known, o.builtins...)))
			return nil
		}
	}
	if depth == 1 && strictyaml.Fold(s.parts[0]) == "stores" {
		o.problems.Addf(s.at, path, "there is no store %q%s", part, Hint(part, known))
		return nil
	}
	v.Entries = append(v.Entries, strictyaml.Entry{Name: name, Spelling: by, At: s.at, Value: &strictyaml.Value{Key: s.at, Pos: s.at}})
	return &v.Entries[len(v.Entries)-1]
}

func isPipeline(parts []string) bool {
	return len(parts) == 3 && strictyaml.Fold(parts[0]) == "stores" && strictyaml.Fold(parts[2]) == "pipeline"
}

// stage finds the stage that a name means, and gives it a mapping to set keys in.
func (o *overlay) stage(s setting, pipeline *strictyaml.Value, part, path string, last bool) (*strictyaml.Value, string) {
	var known []string
	found := -1
	for i, item := range pipeline.Items {
		_, name := stageName(item)
		if name == "" {
			continue
		}
		known = append(known, name)
		if strictyaml.Fold(name) != strictyaml.Fold(part) {
			continue
		}
		if found >= 0 {
			o.problems.Addf(s.at, path, "%q could mean two stages", part)
			return nil, ""
		}
		found = i
	}
	if found < 0 {
		o.problems.Addf(s.at, path, "there is no stage %q%s", part, Hint(part, known))
		return nil, ""
	}
	item := pipeline.Items[found]
	kind, name := stageName(item)
	path = strictyaml.Key(strictyaml.Item(path, found), kind)
	switch {
	case last:
		o.problems.Addf(s.at, path, "is a stage: set a key of it")
		return nil, ""
	case strictyaml.Fold(s.parts[4]) == "name":
		o.problems.Addf(s.at, path, "the name of stage %q cannot be set from here", name)
		return nil, ""
	}
	if item.Kind == strictyaml.Scalar {
		config := &strictyaml.Value{Key: item.Pos, Pos: item.Pos}
		*item = strictyaml.Value{Kind: strictyaml.Mapping, Key: item.Key, Pos: item.Pos, Entries: []strictyaml.Entry{{Name: kind, At: item.Pos, Value: config}}}
	}
	return item.Entries[0].Value, path
}

// stageName is a stage's kind and the name that it goes by, both empty for what is
// no stage. The decoder says what is wrong with it then.
func stageName(item *strictyaml.Value) (kind, name string) {
	switch {
	case item.Broken:
		return "", ""
	case item.Kind == strictyaml.Scalar:
		return item.Data, item.Data
	case item.Kind != strictyaml.Mapping || len(item.Entries) != 1:
		return "", ""
	}
	kind = item.Entries[0].Name
	if n := item.Entries[0].Value.Get("name"); n != nil && n.Kind == strictyaml.Scalar {
		return kind, n.Data
	}
	return kind, kind
}

// set replaces a value by the setting's text. A list of plain values is written
// with commas; whatever else has structure stays as it is.
func (o *overlay) set(s setting, v *strictyaml.Value, path string) {
	one := func(text string) *strictyaml.Value {
		return &strictyaml.Value{Kind: strictyaml.Scalar, Key: s.at, Pos: s.at, Text: text, Data: text, Plain: true, Origin: s.origin}
	}
	switch v.Kind {
	case strictyaml.Mapping:
		o.problems.Addf(s.at, path, "is a mapping: set a key of it, one of %s", strictyaml.Names(entryNames(v.Entries)))
	case strictyaml.List:
		if isPipeline(s.parts) || slices.ContainsFunc(v.Items, func(i *strictyaml.Value) bool { return i.Kind == strictyaml.List || i.Kind == strictyaml.Mapping }) {
			o.problems.Addf(s.at, path, "is a list with structure: it cannot be set from here")
			return
		}
		*v = strictyaml.Value{Kind: strictyaml.List, Key: s.at, Pos: s.at, Items: strictyaml.SplitList(s.text, one)}
	default:
		*v = *one(s.text)
	}
}

func entryNames(entries []strictyaml.Entry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}
