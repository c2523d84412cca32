package config

import (
	"bytes"

	"go.yaml.in/yaml/v4"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
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
	if err := e.Encode(shown(c.root, "")); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}

// shown is v as YAML, without its secrets.
func shown(v *strictyaml.Value, path string) *yaml.Node {
	switch v.Kind {
	case strictyaml.Mapping:
		n := &yaml.Node{Kind: yaml.MappingNode}
		named := v.Get("name") // as a header, or an attribute, has it
		for _, e := range v.Entries {
			key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: e.Name}
			value := shown(e.Value, strictyaml.Key(path, e.Name))
			if e.Name == "value" && e.Value.Kind == strictyaml.Scalar && e.Value.Origin == strictyaml.Document && named != nil && secretName.MatchString(named.Data) {
				value.Value = hidden
			}
			n.Content = append(n.Content, key, value)
		}
		return n
	case strictyaml.List:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i, item := range v.Items {
			value := shown(item, strictyaml.Item(path, i))
			if i > 0 && item.Kind == strictyaml.Scalar && secretFlag(v.Items[i-1].Data) {
				value.Value = hidden
			}
			n.Content = append(n.Content, value)
			if item.Origin == strictyaml.Environment {
				break // the variable stands for all of them
			}
		}
		return n
	case strictyaml.Null:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: v.Text}
	switch {
	case v.Origin == strictyaml.Environment:
		n.Value = "${" + v.Pos.File[:3] + ":" + v.Pos.File[4:] + "}"
	case v.Origin == strictyaml.Document && v.Data != "" && secret(path):
		n.Value = hidden
	default:
		n.Value = masked(n.Value)
	}
	if v.IsString() {
		n.Tag = "!!str"
	}
	return n
}
