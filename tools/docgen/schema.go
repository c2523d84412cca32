package main

import (
	"bytes"
	"encoding/json"
	"strings"
)

// schema is a JSON Schema, or a part of one, with its names in a fixed order.
type schema = map[string]any

// reference is a value that is written elsewhere, which any scalar may be.
var reference = schema{"type": "string", "pattern": `\$\{(env|file):[^}]+\}`}

// schemaOf returns the JSON Schema of a configuration file.
func schemaOf(c described, carried []carrier, plugins []plugin, kinds []wrapper) ([]byte, error) {
	stages := []any{}
	var bare []any
	for _, k := range kinds {
		own := schemaFor(k.config)
		own["properties"].(schema)["name"] = schema{"type": "string", "description": "What the stage is called in the environment, in metrics and errors; its kind where there is none."}
		stages = append(stages, schema{
			"type": "object", "required": []string{k.kind}, "additionalProperties": false,
			"properties": schema{k.kind: schema{"anyOf": []any{own, schema{"type": "null"}}, "description": k.summary()}},
		})
		bare = append(bare, k.kind)
	}
	stages = append(stages, schema{"enum": bare})
	root := schemaFor(c)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Plinth configuration"
	defs := schema{"stage": schema{"oneOf": stages}}
	root["$defs"] = defs
	var ways []any
	for _, k := range carried {
		one := schemaFor(k.config)
		if k.Key != "" {
			one["required"] = []string{k.Key}
		}
		ways = append(ways, one)
	}
	// A built-in module has no file.
	builtIn := schemaFor(carried[0].config)
	delete(builtIn["properties"].(schema), carried[0].Key)
	root["properties"].(schema)["plugins"].(schema)["additionalProperties"] = schema{"anyOf": append(ways, builtIn)}
	// The configurations of built-in plugins are known, that of any other is its own.
	var known []any
	for _, p := range plugins {
		defs[p.name] = schemaFor(p.config)
		known = append(known, schema{
			"if":   schema{"required": []string{"plugin"}, "properties": schema{"plugin": schema{"const": p.name}}},
			"then": schema{"properties": schema{"config": schema{"$ref": "#/$defs/" + p.name}}},
		})
	}
	root["properties"].(schema)["stores"].(schema)["additionalProperties"].(schema)["properties"].(schema)["backend"].(schema)["allOf"] = known
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(root)
	return out.Bytes(), err
}

// schemaFor returns the schema of a value.
func schemaFor(d described) schema {
	either := func(own ...any) schema { return schema{"anyOf": append(own, reference)} }
	switch d.kind {
	case text:
		return schema{"type": "string"}
	case boolean:
		return either(schema{"type": "boolean"})
	case integer:
		return either(schema{"type": "integer"})
	case number:
		return either(schema{"type": "number"})
	case size:
		return either(schema{"type": "integer", "minimum": 0}, schema{"type": "string", "pattern": `^[0-9]+(\.[0-9]+)? ?([kKMGTPE]i?)?B?$`})
	case duration:
		return either(schema{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+$|^0$`}, schema{"const": 0})
	case list:
		return schema{"type": "array", "items": schemaFor(*d.element)}
	case names:
		return schema{"type": "object", "additionalProperties": schemaFor(*d.element)}
	case stage:
		return schema{"$ref": "#/$defs/stage"}
	case anything:
		return schema{"type": "object"}
	}
	properties := schema{}
	for _, f := range d.fields {
		one := schemaFor(f.described)
		said := sentence(f.doc)
		if f.def != "" {
			said = strings.TrimSpace(said + " Default: " + f.def + ".")
		}
		if said != "" {
			one["description"] = said
		}
		if f.secret {
			one["writeOnly"] = true // JSON Schema's word for what is never shown
		}
		properties[f.name] = one
	}
	return schema{"type": "object", "additionalProperties": false, "properties": properties}
}
