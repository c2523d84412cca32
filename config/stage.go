package config

import "slices"

// decodeValue reads one item of a pipeline.
func (s *Stage) decodeValue(d *decoder, v *value, path string) {
	s.Pos = v.where()
	switch {
	case v.kind == scalar && (!v.plain || v.core() == coreString):
		s.Kind, s.Name = v.data, v.data
		s.Config = &Node{&value{key: v.pos, pos: v.pos}, join(path, s.Kind)}
	case v.kind != mapping:
		d.failf(v.where(), path, "want a stage, such as instrument or cache: { … }, got %s", v.describe())
		return
	case len(v.entries) != 1:
		d.failf(v.where(), path, "want a stage with one key, its kind, got %d keys: begin each stage with a dash of its own, and indent its settings", len(v.entries))
		return
	default:
		e := v.entries[0]
		s.Kind, s.Name, s.Pos = e.name, e.name, e.at
		s.settings(d, e.value, join(path, e.name))
	}
	if !validName(s.Kind) {
		d.failf(s.Pos, path, "the kind of a stage "+nameHelp)
	}
}

// settings takes the name out of what the wrapper decodes.
func (s *Stage) settings(d *decoder, v *value, path string) {
	if v.broken {
		d.fail(path)
		return
	}
	own := *v
	switch v.kind {
	case null:
	case mapping:
		own.entries = slices.Clone(v.entries)
		own.entries = slices.DeleteFunc(own.entries, func(e entry) bool { return e.is("name") })
		if name := v.get("name"); name != nil {
			at := join(path, "name")
			d.decodeInto(&s.Name, name, at)
			if !validName(s.Name) && !d.failed[at] {
				d.failf(name.where(), at, "the name of a stage "+nameHelp)
			}
		}
	default:
		d.want(v, path, "a mapping")
	}
	s.Config = &Node{&own, path}
}
