package config

import (
	"errors"
	"slices"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// UnmarshalNode reads one item of a pipeline; see [Node.Decode].
func (s *Stage) UnmarshalNode(n *Node) error {
	v := strictyaml.ValueOf(n)
	s.Pos = v.Where()
	var err error
	switch {
	case v.IsString():
		s.Kind, s.Name = v.Data(), v.Data()
		s.Config = strictyaml.NewNode(&strictyaml.Value{Key: v.Pos, Pos: v.Pos}, strictyaml.Key(n.Path(), s.Kind))
	case v.Kind != strictyaml.Mapping:
		return n.Errorf("", "expected a stage, such as instrument or cache: { … }, got %s", v.Describe())
	case len(v.Entries) != 1:
		return n.Errorf("", "expected a stage with one key, its kind, got %d keys: start each stage with its own dash, and indent its settings", len(v.Entries))
	default:
		e := v.Entries[0]
		s.Kind, s.Name, s.Pos = e.Name, e.Name, e.At
		err = s.settings(e.Value, strictyaml.Key(n.Path(), e.Name))
	}
	if !validName(s.Kind) {
		err = errors.Join(err, &Error{Pos: s.Pos, Path: n.Path(), Message: "the kind of a stage " + nameHelp})
	}
	return err
}

// settings takes the name out of what the wrapper decodes.
func (s *Stage) settings(v *strictyaml.Value, path string) error {
	own := *v
	s.Config = strictyaml.NewNode(&own, path)
	switch {
	case v.Broken || v.Kind == strictyaml.Null:
		return nil
	case v.Kind != strictyaml.Mapping:
		return s.Config.Errorf("", "expected a mapping, got %s", v.Describe())
	}
	own.Entries = slices.DeleteFunc(slices.Clone(v.Entries), func(e strictyaml.Entry) bool { return e.Is("name") })
	name := v.Get("name")
	switch {
	case name == nil:
		return nil
	case name.Broken: // it may belong to another stage
		s.Name = ""
		return nil
	}
	n := strictyaml.NewNode(name, strictyaml.Key(path, "name"))
	if err := n.Decode(&s.Name); err != nil {
		return err
	}
	if !validName(s.Name) {
		return n.Errorf("", "the name of a stage "+nameHelp)
	}
	return nil
}
