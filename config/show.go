package config

import (
	"bytes"

	"go.yaml.in/yaml/v4"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// YAML returns the configuration after all layers, without comments. A value from a
// reference is shown as that reference, one from the environment as a reference to its
// variable, and a written secret as "(hidden)". Secrets are recognized by their name,
// their form or their plugin's tags ([Options].Secrets). A Config that was not loaded has
// no YAML.
func (c *Config) YAML() ([]byte, error) {
	if c.root == nil {
		return nil, nil
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(shown(c.root)); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}

// shown returns v as YAML, without its secrets.
func shown(v *strictyaml.Value) *yaml.Node {
	switch v.Kind {
	case strictyaml.Mapping:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, e := range v.Entries {
			key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: e.Name}
			n.Content = append(n.Content, key, shown(e.Value))
		}
		return n
	case strictyaml.List:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v.Items {
			n.Content = append(n.Content, shown(item))
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
	case v.Masked != "":
		n.Value = v.Masked
	}
	if v.IsString() {
		n.Tag = "!!str"
	}
	return n
}
