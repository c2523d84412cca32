package config

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// hidden is shown in place of a secret that stands in the file itself.
const hidden = "(hidden)"

// YAML is the configuration as it came out of all layers, without comments. A
// value from a reference is shown as that reference, one from the environment as a
// reference to its variable, and what is a secret by its name or its form as "(hidden)"
// where it is written out. A Config that was not loaded has none.
func (c *Config) YAML() ([]byte, error) {
	if c.root == nil {
		return nil, nil
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(c.root.v.yaml("")); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}

func (v *value) yaml(path string) *yaml.Node {
	switch v.kind {
	case mapping:
		n := &yaml.Node{Kind: yaml.MappingNode}
		named := v.get("name") // as a header, or an attribute, has it
		for _, e := range v.entries {
			key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: e.name}
			shown := e.value.yaml(join(path, e.name))
			if e.name == "value" && e.value.kind == scalar && e.value.origin == document && named != nil && secretName.MatchString(named.data) {
				shown.Value = hidden
			}
			n.Content = append(n.Content, key, shown)
		}
		return n
	case list:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i, item := range v.items {
			shown := item.yaml(index(path, i))
			if i > 0 && item.kind == scalar && secretFlag(v.items[i-1].data) {
				shown.Value = hidden
			}
			n.Content = append(n.Content, shown)
			if item.origin == environment {
				break // the variable stands for all of them
			}
		}
		return n
	case null:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: v.text}
	switch {
	case v.origin == environment:
		n.Value = "${" + v.pos.File[:3] + ":" + v.pos.File[4:] + "}"
	case v.origin == document && v.data != "" && secret(path):
		n.Value = hidden
	default:
		n.Value = masked(n.Value)
	}
	if !v.plain || v.core() == coreString {
		n.Tag = "!!str"
	}
	return n
}
