package config

import (
	"encoding/json"
	"strings"

	"github.com/plinthkv/plinth/config/internal/strictyaml"
)

// parseValues parses a configuration that was made in Go. YAML reads JSON.
func parseValues(values map[string]any, p *strictyaml.Problems) *strictyaml.Value {
	content, err := json.Marshal(values)
	if err != nil {
		p.Add(Position{}, "", "the values of the configuration: "+err.Error())
		return nil
	}
	root := strictyaml.Parse("", content, p)
	if root != nil {
		literal(root)
	}
	return root
}

// literal frees v of positions, which a value made in Go has none of, and of references.
func literal(v *strictyaml.Value) {
	v.Key, v.Pos = Position{}, Position{}
	v.Text = strings.ReplaceAll(v.Text, "$", "$$")
	for i := range v.Entries {
		v.Entries[i].At = Position{}
		literal(v.Entries[i].Value)
	}
	for _, item := range v.Items {
		literal(item)
	}
}
