package setup

import (
	"bytes"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/plinthkv/plinth/config"
)

// Warnings returns settings, in the section and in OpenTelemetry's environment variables,
// that are valid but probably not intended. [Validate] returns the invalid ones.
func Warnings(section *config.Node) []string {
	return append(simpleWarnings(section), environmentWarnings(!section.IsEmpty())...)
}

// simpleWarnings warns of processors that would have callers wait for a collector.
func simpleWarnings(section *config.Node) (all []string) {
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
	for path := range simpleProcessors(mapping) {
		all = append(all, section.Errorf(path, "runs as batch with a delay of %dms, so that no call waits for the collector: use batch", simpleDelay).Error())
	}
	return all
}
