package setup

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"slices"

	"go.opentelemetry.io/contrib/otelconf"

	"github.com/plinthkv/plinth/config"
)

// ForPlugins returns the trace settings of the section as a file for plugins that run as
// processes, which package otel/plugin reads. It returns nil if there are none. Metrics
// and logs stay with the host, which counts for its plugins and logs their output.
func ForPlugins(section *config.Node, s Settings) ([]byte, error) {
	p, err := parse(section)
	if err != nil || p.off || p.config.TracerProvider == nil {
		return nil, err
	}
	nameService(context.Background(), &p.config, s)
	raw, err := json.Marshal(otelconf.OpenTelemetryConfiguration{
		FileFormat: p.config.FileFormat, AttributeLimits: p.config.AttributeLimits, Resource: p.config.Resource,
		Propagator: p.config.Propagator, TracerProvider: p.config.TracerProvider,
	})
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // as they are
	var own any
	if err := dec.Decode(&own); err != nil {
		return nil, err
	}
	if err := fromHere(own); err != nil {
		return nil, err
	}
	if raw, err = json.Marshal(own); err != nil {
		return nil, err
	}
	// Who reads it takes $ for the begin of a reference.
	return bytes.ReplaceAll(raw, []byte("$"), []byte(`\u0024`)), nil
}

// fromHere makes the paths of files absolute: a plugin has a working directory of its
// own.
func fromHere(value any) error {
	switch v := value.(type) {
	case []any:
		for _, one := range v {
			if err := fromHere(one); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, one := range v {
			path, ok := one.(string)
			if !ok || path == "" || !slices.Contains(files, name) {
				if err := fromHere(one); err != nil {
					return err
				}
				continue
			}
			absolute, err := filepath.Abs(path)
			if err != nil {
				return err
			}
			v[name] = absolute
		}
	}
	return nil
}

// files lists the settings that are paths of files.
var files = []string{"ca_file", "cert_file", "key_file"}
