package setup_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/config"
	"github.com/plinthkv/plinth/otel/setup"
)

// section is the section telemetry of a configuration, at line 2 of c.yaml.
func section(t *testing.T, yaml string, environ ...string) *config.Node {
	t.Helper()
	c, err := config.Load(config.Options{File: "c.yaml", Content: []byte("telemetry:\n  " + strings.ReplaceAll(strings.TrimSpace(yaml), "\n", "\n  ") + "\n"), Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	return c.Telemetry
}

// Every error is reported at its place, in the terms of the file; everything that is
// right is accepted.
func TestValidate(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"nothing":   {"", ""},
		"as little": {`file_format: "1.0"`, ""},
		"as much": {`
file_format: "1.0"
disabled: false
log_level: warn
resource: { attributes: [ { name: service.name, value: kv }, { name: shard, value: 7, type: int } ], schema_url: https://opentelemetry.io/schemas/1.37.0 }
propagator: { composite: [ tracecontext: , baggage: ] }
attribute_limits: { attribute_count_limit: 32 }
tracer_provider:
  sampler: { parent_based: { root: { trace_id_ratio_based: { ratio: 0.1 } } } }
  limits: { event_count_limit: 8 }
  processors:
    - batch: { schedule_delay: 500, exporter: { otlp_grpc: { endpoint: "http://localhost:4317", compression: gzip, headers: [ { name: a, value: b } ] } } }
    - simple: { exporter: { console: } }
meter_provider:
  readers:
    - pull: { exporter: { prometheus/development: { without_scope_info: true } } }
    - periodic: { interval: 1000, exporter: { otlp_http: { endpoint: "http://localhost:4318/v1/metrics", temporality_preference: delta } } }
  views:
    - { selector: { instrument_name: db.* }, stream: { aggregation: { base2_exponential_bucket_histogram: { max_size: 80 } } } }
logger_provider:
  processors: [ batch: { exporter: { otlp_http: { endpoint: "http://localhost:4318/v1/logs" } } } ]`, ""},
		"no mapping":       {"[1]", "1:1: telemetry: is OpenTelemetry's configuration, a mapping"},
		"no format":        {"disabled: true", "1:1: telemetry: file_format is missing"},
		"another format":   {`file_format: "0.3"`, `2:16: telemetry.file_format: is "0.3", this version understands "1.0"`},
		"a number":         {"file_format: 1.0", "2:16: telemetry.file_format: must be text (a number needs quotes), not a number"},
		"a misspelt key":   {"file_format: \"1.0\"\ntracer_provder: {}", `3:3: telemetry.tracer_provder: unknown key "tracer_provder": did you mean "tracer_provider"?`},
		"one deep inside":  {"file_format: \"1.0\"\ntracer_provider:\n  processors:\n    - batch: { exporter: { otlp_http: { endpont: x } } }", `5:52: telemetry.tracer_provider.processors[0].batch.exporter.otlp_http.endpont: unknown key "endpont": did you mean "endpoint"?`},
		"in what is empty": {"file_format: \"1.0\"\ntracer_provider: { processors: [ { simple: { exporter: { console: { pretty: true } } } } ] }", `3:79: telemetry.tracer_provider.processors[0].simple.exporter.console.pretty: unknown key "pretty"`},
		"a missing key":    {"file_format: \"1.0\"\ntracer_provider: { processors: [ { simple: {} } ] }", "3:38: telemetry.tracer_provider.processors[0].simple: exporter is missing"},
		"a wrong type":     {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - periodic: { interval: 1s, exporter: { console: } }", "5:31: telemetry.meter_provider.readers[0].periodic.interval: must be a whole number, not text"},
		"no list":          {"file_format: \"1.0\"\ntracer_provider: { processors: 5 }", "3:34: telemetry.tracer_provider.processors: must be a list"},
		"no mapping below": {"file_format: \"1.0\"\nlogger_provider: 5", "3:20: telemetry.logger_provider: must be a mapping"},
		"out of range":     {"file_format: \"1.0\"\ntracer_provider: { processors: [ { batch: { schedule_delay: -5, exporter: { console: } } } ] }", "3:63: telemetry.tracer_provider.processors[0].batch.schedule_delay: must be at least 0"},
		"a port for the page": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus/development: { port: 9464 } } }",
			"5:17: telemetry.meter_provider.readers[0].pull.exporter: does not support host and port: the page is served at /metrics of the server"},
		"an unknown pull": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus: {} } }",
			`5:29: telemetry.meter_provider.readers[0].pull.exporter.prometheus: unknown key "prometheus"`},
		"an empty pull": {"file_format: \"1.0\"\nmeter_provider: { readers: [ { pull: } ] }",
			"3:34: telemetry.meter_provider.readers[0].pull: must be a mapping, not nothing"},
		"a pull without an exporter": {"file_format: \"1.0\"\nmeter_provider: { readers: [ { pull: { exporter: {} } } ] }",
			"3:42: telemetry.meter_provider.readers[0].pull.exporter: takes exactly one of prometheus/development"},
		"two readers in one": {"file_format: \"1.0\"\nmeter_provider: { readers: [ { pull: { exporter: {} }, periodic: { exporter: { console: } } } ] }",
			"3:32: telemetry.meter_provider.readers[0]: takes exactly one of periodic, pull"},
		"two exporters": {"file_format: \"1.0\"\ntracer_provider: { processors: [ { simple: { exporter: { console: , otlp_http: { endpoint: \"http://localhost:4318\" } } } } ] }",
			"3:48: telemetry.tracer_provider.processors[0].simple.exporter: takes exactly one of console, otlp_grpc, otlp_http"},
		"no exporter": {"file_format: \"1.0\"\nlogger_provider: { processors: [ { simple: { exporter: {} } } ] }",
			"3:48: telemetry.logger_provider.processors[0].simple.exporter: takes exactly one of console, otlp_grpc, otlp_http"},
		"two samplers": {"file_format: \"1.0\"\ntracer_provider: { processors: [ simple: { exporter: { console: } } ], sampler: { always_on: , always_off: } }",
			"3:74: telemetry.tracer_provider.sampler: takes exactly one of always_off, always_on, parent_based, trace_id_ratio_based"},
		"two pages": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus/development: } }\n    - periodic: { exporter: { console: } }\n    - pull: { exporter: { prometheus/development: } }",
			"7:9: telemetry.meter_provider.readers[2].pull: is the second one: there is one page for Prometheus, at /metrics"},
		"the place of another reader": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus/development: } }\n    - periodic: { exporter: { consol: } }",
			`6:33: telemetry.meter_provider.readers[1].periodic.exporter.consol: unknown key "consol": did you mean "console"?`},
		"an unknown strategy": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus/development: { translation_strategy: x } } }",
			"5:77: telemetry.meter_provider.readers[0].pull.exporter.prometheus/development.translation_strategy: must be one of underscore_escaping_with_suffixes, "},
		"no processors":        {"file_format: \"1.0\"\nlogger_provider: { processors: [] }", "3:22: telemetry.logger_provider.processors: must not be empty"},
		"no readers":           {"file_format: \"1.0\"\nmeter_provider: { readers: [] }", ""},
		"as the schema has it": {"file_format: \"1.0\"\nmeter_provider: { readers: [ pull: { exporter: { prometheus/development: { without_target_info/development: true, translation_strategy: no_translation/development } } } ] }", ""},
		"as it was before":     {"file_format: \"1.0\"\nmeter_provider: { readers: [ pull: { exporter: { prometheus/development: { without_target_info: true, translation_strategy: no_translation } } } ] }", ""},
		"in development":       {"file_format: \"1.0\"\ninstrumentation/development: { go: }", `3:3: telemetry.instrumentation/development: unknown key "instrumentation/development"`},
		"an attribute of no type": {"file_format: \"1.0\"\nresource: { attributes: [ { name: a.b, value: { x: 1 } } ] }",
			"3:42: telemetry.resource.attributes[0].value: must be text (a number needs quotes) or a number or true or false or a list"},
		"an attribute without a value": {"file_format: \"1.0\"\nresource: { attributes: [ { name: a.b, value: } ] }",
			"3:42: telemetry.resource.attributes[0].value: must be text (a number needs quotes) or a number or true or false or a list"},
		"a list of several types":          {"file_format: \"1.0\"\nresource: { attributes: [ { name: a.b, value: [ x, { } ] } ] }", "3:54: telemetry.resource.attributes[0].value[1]: must be text (a number needs quotes), not a mapping"},
		"a key with a dot":                 {"file_format: \"1.0\"\nresource: { \"a.b\": 1 }", `3:22: telemetry.resource."a.b": unknown key "a.b"`},
		"nothing for a maker":              {"file_format: \"1.0\"\ndistribution: {}", "3:3: telemetry.distribution: must not be empty"},
		"propagators that left the schema": {"file_format: \"1.0\"\npropagator: { composite: [ jaeger: , ottrace: ] }", ""},
		"a page and another mistake": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus/development: { host: x, colour: 1 } } }",
			"5:17: telemetry.meter_provider.readers[0].pull.exporter: does not support host and port: the page is served at /metrics of the server\nc.yaml:5:72: telemetry.meter_provider.readers[0].pull.exporter.prometheus/development.colour: unknown key"},
		"an unknown word": {"file_format: \"1.0\"\nlog_level: loud", "3:14: telemetry.log_level: must be one of trace, trace2, "},
		"several at once": {"file_format: \"1.0\"\nlogger_provider: 5\ntracer_provder: {}",
			"3:20: telemetry.logger_provider: must be a mapping, not a number\nc.yaml:4:3: telemetry.tracer_provder: unknown key \"tracer_provder\": did you mean \"tracer_provider\"?"},
	} {
		t.Run(name, func(t *testing.T) {
			err := setup.Validate(section(t, c.yaml))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if want := strings.TrimSuffix("c.yaml:"+c.want, "c.yaml:"); got != want && !(c.want != "" && strings.HasPrefix(got, want)) {
				t.Errorf("%s\nwant\n%s", got, want)
			}
		})
	}
}

// An endpoint that the SDK would take for another one, or of which it would drop a part, is an
// error at its place.
func TestEndpoints(t *testing.T) {
	for endpoint, c := range map[string]struct{ http, grpc string }{
		"http://localhost:4318/v1/traces":      {"", "has a path, which gRPC does not send"},
		"http://localhost:4317/":               {"", ""},
		"https://collector.example.org":        {"", ""},
		"http://[::1]:4317":                    {"", ""},
		"localhost:4317":                       {"must begin with http:// or https://", ""},
		"collector.example.org":                {"must begin with http:// or https://", "is neither a URL nor host:port"},
		"/v1/traces":                           {"must begin with http:// or https://", "is neither a URL nor host:port"},
		"https://":                             {"names no host", "names no host"},
		"https:///v1/traces":                   {"names no host", "names no host"},
		"https://:4318":                        {"names no host", "names no host"},
		"ftp://localhost":                      {"must begin with http:// or https://", "must begin with http:// or https://"},
		"http://user:pass@localhost:4318":      {"has a user or a password", "has a user or a password"},
		"http://localhost:4318/v1/traces?k=v":  {"has a query", "has a query"},
		"http://localhost:4318/v1/traces#here": {"has a query or a fragment", "has a query or a fragment"},
		"http://local host":                    {"is not a URL", "is not a URL"},
		"127.0.0.1:4318/v1/traces":             {"is not a URL", "is neither a URL nor host:port"},
		"http:/h":                              {"names no host", "is neither a URL nor host:port"},
		"//h:4318":                             {"must begin with http:// or https://", "is neither a URL nor host:port"},
		"http://h:99999":                       {"must have a port", "must have a port"},
		"http://h:0":                           {"must have a port", "must have a port"},
		"http://h:":                            {"must have a port", "must have a port"},
		"http://h:04318":                       {"must have a port", "must have a port"},
		"h:99999":                              {"must begin with http:// or https://", "must have a port"},
		"h:0":                                  {"must begin with http:// or https://", "must have a port"},
		"h:":                                   {"must begin with http:// or https://", "must have a port"},
	} {
		for kind, want := range map[string]string{"otlp_http": c.http, "otlp_grpc": c.grpc} {
			err := setup.Validate(section(t, fmt.Sprintf("file_format: \"1.0\"\ntracer_provider: { processors: [ { batch: { exporter: { %s: { endpoint: %q } } } } ] }", kind, endpoint)))
			switch {
			case want == "" && err != nil:
				t.Errorf("%s, %s: %v", kind, endpoint, err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), "telemetry.tracer_provider.processors[0].batch.exporter."+kind+".endpoint: "+want) || !strings.HasPrefix(err.Error(), "c.yaml:3:")):
				t.Errorf("%s, %s: %v, want %s", kind, endpoint, err, want)
			}
		}
	}
}

// What came from the environment is in no error.
func TestSecretsAreNotTold(t *testing.T) {
	err := setup.Validate(section(t, "file_format: \"1.0\"\ntracer_provider: { processors: [ { batch: { schedule_delay: \"${env:SECRET}\", exporter: { console: } } } ] }", "SECRET=hunter2hunter2"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

// Whatever a configuration holds, it is accepted or refused.
func FuzzValidate(f *testing.F) {
	for _, seed := range []string{"", "telemetry: 5", "telemetry: [1]", "telemetry: { file_format: \"1.0\" }",
		"telemetry: { meter_provider: { readers: [ { pull: }, { pull: { exporter: [1] } }, 5, { periodic: { exporter: { console: } } } ] } }",
		"telemetry: { tracer_provider: { processors: { a: 1 }, sampler: { parent_based: { root: [ ] } } }, resource: { attributes: [ { name: x, value: [ 1, { } ] } ] } }",
		"telemetry: { propagator: { composite: [ tracecontext: , 7 ] }, distribution: { a: { b: 1 } }, log_level: 9 }"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, yaml string) {
		c, _ := config.Load(config.Options{File: "c.yaml", Content: []byte(yaml)})
		if c == nil {
			return
		}
		if err := setup.Validate(c.Telemetry); err != nil && !strings.Contains(err.Error(), "telemetry") {
			t.Errorf("it is not told what is wrong: %v", err)
		}
	})
}
