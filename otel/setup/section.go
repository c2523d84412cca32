package setup

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.opentelemetry.io/contrib/otelconf"

	"github.com/plinthkv/plinth/config"
)

// parsed holds the section, split into what otelconf does and what is ours.
type parsed struct {
	config         otelconf.OpenTelemetryConfiguration
	prometheus     *prometheusExporter // nil means no page
	prometheusPath string
	off            bool // the section says so, or the environment where the section does not
}

// Validate checks the section telemetry without starting anything. It returns all errors
// at once, each with its position.
func Validate(section *config.Node) error {
	_, err := parse(section)
	return err
}

func parse(section *config.Node) (*parsed, error) {
	if section.IsEmpty() {
		return &parsed{prometheus: &prometheusExporter{}, off: disabledByEnvironment()}, nil
	}
	raw, err := section.JSON()
	if err != nil {
		return nil, err
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, section.Errorf("", "%v", err)
	}
	mapping, ok := root.(map[string]any)
	if !ok {
		return nil, section.Errorf("", "%v", errNoMapping)
	}
	s, err := newSchema()
	if err != nil {
		return nil, section.Errorf("", "%v", err)
	}
	if err := config.Join(s.validate(section, mapping), checkPages(section, mapping), checkEndpoints(section, mapping)); err != nil {
		return nil, err
	}
	p := &parsed{}
	if err := p.takePrometheus(section, mapping); err != nil {
		return nil, err
	}
	for _, processor := range simpleProcessors(mapping) {
		processor["batch"] = map[string]any{"exporter": processor["simple"].(map[string]any)["exporter"], "schedule_delay": simpleDelay}
		delete(processor, "simple")
	}
	if err := decodeInto(mapping, &p.config); err != nil {
		return nil, section.Errorf("", "%s", oneLine(err))
	}
	if major, _, _ := strings.Cut(p.config.FileFormat, "."); major != "1" {
		return nil, section.Errorf("file_format", "is %q, this version understands \"1.0\"", p.config.FileFormat)
	}
	p.off = disabledByEnvironment()
	if off, says := mapping["disabled"].(bool); says {
		p.off = off
	}
	return p, nil
}

// pulls returns the readers of root that are pages to ask for, by their paths in order.
// Nothing is known of root.
func pulls(root map[string]any) (paths []string, readers []map[string]any) {
	meter, _ := root["meter_provider"].(map[string]any)
	list, _ := meter["readers"].([]any)
	for i, reader := range list {
		if r, _ := reader.(map[string]any); r["pull"] != nil {
			pull, _ := r["pull"].(map[string]any)
			paths, readers = append(paths, fmt.Sprintf("meter_provider.readers[%d].pull", i)), append(readers, pull)
		}
	}
	return paths, readers
}

// checkPages reports what the schema allows of a page for Prometheus, and this program
// has its own way of.
func checkPages(section *config.Node, root map[string]any) error {
	var errs []error
	paths, readers := pulls(root)
	for i, pull := range readers {
		exporter, _ := pull["exporter"].(map[string]any)
		page, _ := exporter["prometheus"+development].(map[string]any)
		switch {
		case i > 0:
			errs = append(errs, section.Errorf(paths[i], "is the second one: there is one page for Prometheus, at /metrics"))
		case page["host"] != nil || page["port"] != nil:
			errs = append(errs, section.Errorf(paths[i]+".exporter", "does not support host and port: the page is served at /metrics of the server"))
		}
	}
	return config.Join(errs...)
}

// takePrometheus takes the pull reader out of a valid root: otelconf would open a port
// of its own for it, and has it only among its experiments. Without meter_provider
// there is the page all the same.
func (p *parsed) takePrometheus(section *config.Node, root map[string]any) error {
	meter, ok := root["meter_provider"].(map[string]any)
	if !ok {
		p.prometheus = &prometheusExporter{}
		root["meter_provider"] = map[string]any{"readers": []any{}}
		return nil
	}
	paths, readers := pulls(root)
	if len(readers) == 0 {
		return nil
	}
	var own pullReader
	if err := decodeInto(readers[0], &own); err != nil {
		return section.Errorf(paths[0], "%s", oneLine(err))
	}
	p.prometheus, p.prometheusPath = &own.Exporter.Prometheus, paths[0]
	meter["readers"] = slices.DeleteFunc(meter["readers"].([]any), func(reader any) bool { return reader.(map[string]any)["pull"] != nil })
	return nil
}

// simpleDelay is the delay, in milliseconds, of the batches in which spans and records of
// simple processors are sent: the SDK's own has the caller wait for the collector, for half a
// minute where that is silent.
const simpleDelay = 100

// simpleProcessors returns the processors of root that send each span or record by itself to
// a collector, by their paths. Nothing is known of root.
func simpleProcessors(root map[string]any) iter.Seq2[string, map[string]any] {
	return func(yield func(string, map[string]any) bool) {
		for _, provider := range []string{"tracer_provider", "logger_provider"} {
			of, _ := root[provider].(map[string]any)
			processors, _ := of["processors"].([]any)
			for i, p := range processors {
				processor, _ := p.(map[string]any)
				simple, _ := processor["simple"].(map[string]any)
				exporter, _ := simple["exporter"].(map[string]any)
				if _, console := exporter["console"]; simple == nil || console {
					continue
				}
				if !yield(fmt.Sprintf("%s.processors[%d].simple", provider, i), processor) {
					return
				}
			}
		}
	}
}

// oneLine returns the text of an error that otelconf has in several.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", ": ") }
