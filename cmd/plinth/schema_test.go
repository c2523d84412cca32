package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/plinthkv/plinth/config"
)

// The schema takes what the program takes, and refuses what an editor can see to
// be wrong.
func TestSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, yaml string
		wrong      string // a part of the error; empty if it is right
	}{
		{"the built-in configuration", string(config.Default()), ""},
		{"nothing", "{}", ""},
		{"every stage bare", "stores: { a: { backend: { plugin: memory }, pipeline: [instrument, size_limits, cache, batch, retry, timeout, circuit_breaker, read_only, faults] } }", ""},
		{"a stage with null", "stores: { a: { pipeline: [cache: ] } }", ""},
		{"stages with settings", `stores: { a: { pipeline: [cache: { name: hot, ttl: 1m30s, max_bytes: 1GiB }, rate_limit: { rate: 0.5, tenant: { until: "/" }, tenants: { a: { rate: 1 } } },
			faults: { rules: [{ calls: [get], rate: 0.5, error: timeout }] }, instrument: { tenant: { prefix: x, max: 5 } }] } }`, ""},
		{"references", `stores: { a: { pipeline: [cache: { ttl: "${env:TTL:-30s}", max_bytes: "${file:./size}" }] } }`, ""},
		{"a plugin's own settings", "stores: { a: { backend: { plugin: acme, config: { whatever: [1, 2] } } } }", ""},
		{"a ledger", "stores: { a: { backend: { plugin: ledger, config: { endpoints: [http://a:1], organization: 18446744073709551615, vault: 2, timeouts: { read: 5s }, http2: { stream_window: 1MiB } } } } }", ""},
		{"a setting of ledger that there is not", "stores: { a: { backend: { plugin: ledger, config: { timeouts: { reed: 5s } } } } }", "reed"},
		{"sizes and durations", "plugins: { a: { limits: { memory: 64MiB, call: 500ms, max_frame: 1048576 } } }", ""},
		{"an unknown section", "storse: {}", "storse"},
		{"an unknown setting of a stage", "stores: { a: { pipeline: [cache: { tll: 1m }] } }", "pipeline"},
		{"an unknown stage", "stores: { a: { pipeline: [cahe] } }", "pipeline"},
		{"a stage of two keys", "stores: { a: { pipeline: [{ cache: {}, batch: {} }] } }", "pipeline"},
		{"a setting of memory that there is not", "stores: { a: { backend: { plugin: memory, config: { max_byts: 1 } } } }", "max_byts"},
		{"no size", "plugins: { a: { limits: { memory: many } } }", "memory"},
		{"no duration", "server: { shutdown_timeout: soon }", "shutdown_timeout"},
		{"no number", "server: { limits: { max_ops: x } }", "max_ops"},
	} {
		var v any
		if err := yaml.Unmarshal([]byte(c.yaml), &v); err != nil {
			t.Fatal(err)
		}
		err := s.Validate(v)
		if c.wrong == "" && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
