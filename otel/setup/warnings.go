package setup

import (
	"bytes"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/plinthkv/plinth/config"
)

// Warnings returns settings, in the section and in OpenTelemetry's environment variables,
// that are valid but probably not intended. [Validate] returns the invalid ones.
func Warnings(section *config.Node) []string {
	return append(simpleProcessors(section), environmentWarnings(!section.IsEmpty())...)
}

// simpleProcessors warns of processors that have callers wait for a collector.
func simpleProcessors(section *config.Node) (all []string) {
	if section.IsEmpty() {
		return nil
	}
	raw, err := section.JSON()
	if err != nil {
		return nil
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	mapping, _ := root.(map[string]any)
	for _, provider := range []string{"tracer_provider", "logger_provider"} {
		of, _ := mapping[provider].(map[string]any)
		processors, _ := of["processors"].([]any)
		for i, p := range processors {
			processor, _ := p.(map[string]any)
			simple, _ := processor["simple"].(map[string]any)
			exporter, _ := simple["exporter"].(map[string]any)
			if _, console := exporter["console"]; simple == nil || console {
				continue
			}
			path := fmt.Sprintf("%s.processors[%d].simple", provider, i)
			all = append(all, section.Errorf(path, "every call waits until the collector has answered: use batch").Error())
		}
	}
	return all
}
