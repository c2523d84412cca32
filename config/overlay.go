package config

import (
	"slices"
	"strings"
)

// overlay puts settings into the merged tree, in place.
type overlay struct {
	root     *value
	builtins []string // plugins that need no entry to be known
	problems *problems
}

// apply sets one value. Whatever it makes on the way (a mapping where there was
// nothing) carries the setting's position, so that the strict decoding that comes
// later names the variable or flag where a key is unknown.
func (o *overlay) apply(s setting) {
	v, path := o.root, ""
	for i, part := range s.parts {
		last := i == len(s.parts)-1
		if v.kind == list && isPipeline(s.parts[:i]) {
			stage, at := o.stage(s, v, part, path, last)
			if stage == nil {
				return
			}
			v, path = stage, at
			continue
		}
		switch v.kind {
		case null:
			*v = value{kind: mapping, key: s.at, pos: s.at}
		case scalar:
			o.problems.addf(s.at, path, "is a single value: nothing below it can be set")
			return
		case list:
			o.problems.addf(s.at, path, "is a list: set it as a whole, with commas")
			return
		}
		e := o.entry(s, v, part, path, i)
		if e == nil {
			return
		}
		v, path = e.value, join(path, e.name)
	}
	o.set(s, v, path)
}

// entry finds the key that part means below a mapping, or adds it where that is
// allowed.
func (o *overlay) entry(s setting, v *value, part, path string, depth int) *entry {
	known := entryNames(v.entries)
	found := -1
	for i, e := range v.entries {
		switch {
		case s.added == byFlag && e.name == part: // spelt exactly: no doubt
			return &v.entries[i]
		case fold(e.name) != fold(part):
		case found >= 0:
			o.problems.addf(s.at, path, "%q could mean %q and %q", part, v.entries[found].name, e.name)
			return nil
		default:
			found = i
		}
	}
	if found >= 0 {
		return &v.entries[found]
	}
	name, by := part, s.added
	if depth == 1 && fold(s.parts[0]) == "plugins" {
		for _, b := range o.builtins {
			if fold(b) == fold(part) {
				name, by = b, byDocument // its spelling is known
			}
		}
		if !slices.Contains(o.builtins, name) {
			o.problems.addf(s.at, path, "there is no plugin %q%s", part, hint(part, append(known, o.builtins...)))
			return nil
		}
	}
	if depth == 1 && fold(s.parts[0]) == "stores" {
		o.problems.addf(s.at, path, "there is no store %q%s", part, hint(part, known))
		return nil
	}
	v.entries = append(v.entries, entry{name: name, added: by, at: s.at, value: &value{key: s.at, pos: s.at}})
	return &v.entries[len(v.entries)-1]
}

func isPipeline(parts []string) bool {
	return len(parts) == 3 && fold(parts[0]) == "stores" && fold(parts[2]) == "pipeline"
}

// stage finds the stage that a name means, and gives it a mapping to set keys in.
func (o *overlay) stage(s setting, pipeline *value, part, path string, last bool) (*value, string) {
	var known []string
	found := -1
	for i, item := range pipeline.items {
		_, name := stageName(item)
		if name == "" {
			continue
		}
		known = append(known, name)
		if fold(name) != fold(part) {
			continue
		}
		if found >= 0 {
			o.problems.addf(s.at, path, "%q could mean two stages", part)
			return nil, ""
		}
		found = i
	}
	if found < 0 {
		o.problems.addf(s.at, path, "there is no stage %q%s", part, hint(part, known))
		return nil, ""
	}
	item := pipeline.items[found]
	kind, name := stageName(item)
	path = join(index(path, found), kind)
	switch {
	case last:
		o.problems.addf(s.at, path, "is a stage: set a key of it")
		return nil, ""
	case fold(s.parts[4]) == "name":
		o.problems.addf(s.at, path, "the name of stage %q cannot be set from here", name)
		return nil, ""
	}
	if item.kind == scalar {
		config := &value{key: item.pos, pos: item.pos}
		*item = value{kind: mapping, key: item.key, pos: item.pos, entries: []entry{{name: kind, at: item.pos, value: config}}}
	}
	return item.entries[0].value, path
}

// stageName is a stage's kind and the name that it goes by, both empty for what is
// no stage. The decoder says what is wrong with it then.
func stageName(item *value) (kind, name string) {
	switch {
	case item.broken:
		return "", ""
	case item.kind == scalar:
		return item.data, item.data
	case item.kind != mapping || len(item.entries) != 1:
		return "", ""
	}
	kind = item.entries[0].name
	if n := item.entries[0].value.get("name"); n != nil && n.kind == scalar {
		return kind, n.data
	}
	return kind, kind
}

// set replaces a value by the setting's text. A list of plain values is written
// with commas; whatever else has structure stays as it is.
func (o *overlay) set(s setting, v *value, path string) {
	one := func(text string) *value {
		return &value{kind: scalar, key: s.at, pos: s.at, text: text, data: text, plain: true, origin: s.origin}
	}
	switch v.kind {
	case mapping:
		o.problems.addf(s.at, path, "is a mapping: set a key of it, one of %s", names(entryNames(v.entries)))
	case list:
		if isPipeline(s.parts) || slices.ContainsFunc(v.items, func(i *value) bool { return i.kind == list || i.kind == mapping }) {
			o.problems.addf(s.at, path, "is a list with structure: it cannot be set from here")
			return
		}
		*v = value{kind: list, key: s.at, pos: s.at, items: splitItems(s.text, one)}
	default:
		*v = *one(s.text)
	}
}

// splitItems cuts a list written with commas; an empty text is an empty list.
func splitItems(text string, one func(string) *value) []*value {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	var items []*value
	for part := range strings.SplitSeq(text, ",") {
		items = append(items, one(strings.TrimSpace(part)))
	}
	return items
}

func entryNames(entries []entry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.name)
	}
	return names
}
