package config

import (
	"encoding/json"
	"strings"
)

// parseValues is parse for a configuration that was made in Go. YAML reads JSON.
func parseValues(values map[string]any, p *problems) *value {
	content, err := json.Marshal(values)
	if err != nil {
		p.add(Position{}, "", "the values of the configuration: "+err.Error())
		return nil
	}
	root := parse("", content, p)
	if root != nil {
		root.literal()
	}
	return root
}

// literal frees v of positions, which a value made in Go has none of, and of references.
func (v *value) literal() {
	v.key, v.pos = Position{}, Position{}
	v.text = strings.ReplaceAll(v.text, "$", "$$")
	for i := range v.entries {
		v.entries[i].at = Position{}
		v.entries[i].value.literal()
	}
	for _, item := range v.items {
		item.literal()
	}
}
