package setup

import (
	"bytes"
	"encoding/json"

	"go.opentelemetry.io/contrib/otelconf"

	"github.com/plinthkv/plinth/config"
)

// ForPlugins is what the section says of traces, as a file of its own for plugins that
// run as processes: package otel/plugin reads it. Nil: it says nothing of them.
// Metrics and logs are the host's alone: it counts for its plugins, and logs what they
// print.
func ForPlugins(section *config.Node, s Settings) ([]byte, error) {
	p, err := parse(section)
	if err != nil || p.disabled() || p.config.TracerProvider == nil {
		return nil, err
	}
	nameService(&p.config, s)
	raw, err := json.Marshal(otelconf.OpenTelemetryConfiguration{
		FileFormat: p.config.FileFormat, AttributeLimits: p.config.AttributeLimits, Resource: p.config.Resource,
		Propagator: p.config.Propagator, TracerProvider: p.config.TracerProvider,
	})
	if err != nil {
		return nil, err
	}
	// Who reads it takes $ for the begin of a reference.
	return bytes.ReplaceAll(raw, []byte("$"), []byte(`\u0024`)), nil
}
