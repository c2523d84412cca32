package setup

import (
	"bytes"
	_ "embed"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// published holds OpenTelemetry's schema of its configuration, as released with version
// 1.0.0 of https://github.com/open-telemetry/opentelemetry-configuration, the version that
// otelconf reads. It is theirs, under the Apache License 2.0.
//
//go:embed schema/opentelemetry_configuration.json
var published []byte

// schema is OpenTelemetry's schema, fitted to what otelconf reads.
type schema struct {
	doc      map[string]any
	compiled *jsonschema.Schema
}

// newSchema compiles the schema, once: that takes some milliseconds.
var newSchema = sync.OnceValues(compile)

func compile() (*schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(published))
	if err != nil {
		return nil, err
	}
	s := &schema{doc: doc.(map[string]any)}
	fit(s.doc)
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaURL, s.doc); err != nil {
		return nil, err
	}
	s.compiled, err = c.Compile(schemaURL)
	return s, err
}

const schemaURL = "opentelemetry.json"

// development ends the names of settings that OpenTelemetry still changes.
const development = "/development"

// fit takes out of the schema what otelconf does not read and would do without in
// silence: settings in development and components of other makers. What remains in
// development is the page for Prometheus, which is ours; its settings may be written
// without the suffix. Two propagators are put back, which otelconf still has.
func fit(doc map[string]any) {
	defs := doc["$defs"].(map[string]any)
	const page, exporter = "ExperimentalPrometheusMetricExporter", "PullMetricExporter"
	for name := range defs {
		properties := propertiesOf(defs[name])
		if properties == nil {
			continue
		}
		defs[name].(map[string]any)["additionalProperties"] = false
		if name != page && name != exporter {
			maps.DeleteFunc(properties, inDevelopment)
		}
	}
	doc["additionalProperties"] = false
	maps.DeleteFunc(propertiesOf(doc), inDevelopment)

	for _, name := range []string{"jaeger", "ottrace"} {
		propertiesOf(defs["TextMapPropagator"])[name] = propertiesOf(defs["TextMapPropagator"])["b3"]
	}
	settings := propertiesOf(defs[page])
	settings["without_target_info"] = settings["without_target_info"+development]
	delete(settings, "with_resource_constant_labels")
	reader := propertiesOf(defs["PullMetricReader"])
	delete(reader, "producers")
	delete(reader, "cardinality_limits")
	strategies := defs["ExperimentalPrometheusTranslationStrategy"].(map[string]any)
	for _, name := range strategies["enum"].([]any) {
		if short, ok := strings.CutSuffix(name.(string), development); ok {
			strategies["enum"] = append(strategies["enum"].([]any), short)
		}
	}
	delete(propertiesOf(defs["MeterProvider"])["readers"].(map[string]any), "minItems") // none: no metrics, and no page
	value := propertiesOf(defs["AttributeNameValue"])["value"].(map[string]any)
	value["oneOf"] = slices.DeleteFunc(value["oneOf"].([]any), func(x any) bool { return x.(map[string]any)["type"] == "null" })
}

func inDevelopment(name string, _ any) bool { return strings.HasSuffix(name, development) }

// propertiesOf returns what an object may have; nil if def describes none, or none by name.
func propertiesOf(def any) map[string]any {
	object, _ := def.(map[string]any)
	properties, _ := object["properties"].(map[string]any)
	return properties
}
