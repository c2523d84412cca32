package setup_test

import (
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

// Everything that is wrong is told where it is, in the terms of the file; what is
// right, and all of it, is accepted.
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
		"in what is empty": {"file_format: \"1.0\"\ntracer_provider: { processors: [ { simple: { exporter: { console: { pretty: true } } } } ] }", "3:60: telemetry.tracer_provider.processors[0].simple.exporter.console: takes no settings"},
		"a missing key":    {"file_format: \"1.0\"\ntracer_provider: { processors: [ { simple: {} } ] }", "3:38: telemetry.tracer_provider.processors[0].simple: exporter is missing"},
		"a wrong type":     {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - periodic: { interval: 1s, exporter: { console: } }", "5:31: telemetry.meter_provider.readers[0].periodic.interval: must be a whole number, not a string"},
		"no list":          {"file_format: \"1.0\"\ntracer_provider: { processors: 5 }", "3:34: telemetry.tracer_provider.processors: must be a list"},
		"no mapping below": {"file_format: \"1.0\"\nlogger_provider: 5", "3:20: telemetry.logger_provider: must be a mapping"},
		"out of range":     {"file_format: \"1.0\"\ntracer_provider: { processors: [ { batch: { schedule_delay: -5, exporter: { console: } } } ] }", "3:38: telemetry.tracer_provider.processors[0].batch: field schedule_delay: must be >= 0"},
		"a port for the page": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus/development: { port: 9464 } } }",
			"5:17: telemetry.meter_provider.readers[0].pull.exporter: takes no host and no port: the page is served at /metrics, where the server listens"},
		"an unknown pull": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus: {} } }",
			`5:29: telemetry.meter_provider.readers[0].pull.exporter.prometheus: unknown key "prometheus"`},
		"an empty pull": {"file_format: \"1.0\"\nmeter_provider: { readers: [ { pull: } ] }",
			"3:34: telemetry.meter_provider.readers[0].pull: has no exporter: there is prometheus/development"},
		"a pull without an exporter": {"file_format: \"1.0\"\nmeter_provider: { readers: [ { pull: { exporter: {} } } ] }",
			"3:34: telemetry.meter_provider.readers[0].pull: has no exporter: there is prometheus/development"},
		"two readers in one": {"file_format: \"1.0\"\nmeter_provider: { readers: [ { pull: { exporter: {} }, periodic: { exporter: { console: } } } ] }",
			"3:32: telemetry.meter_provider.readers[0]: takes exactly one of periodic, pull"},
		"two exporters": {"file_format: \"1.0\"\ntracer_provider: { processors: [ { simple: { exporter: { console: , otlp_http: { endpoint: \"http://localhost:4318\" } } } } ] }",
			"3:48: telemetry.tracer_provider.processors[0].simple.exporter: takes exactly one of console, otlp_grpc, otlp_http"},
		"no exporter": {"file_format: \"1.0\"\nlogger_provider: { processors: [ { simple: { exporter: {} } } ] }",
			"3:48: telemetry.logger_provider.processors[0].simple.exporter: takes exactly one of console, otlp_grpc, otlp_http"},
		"two samplers": {"file_format: \"1.0\"\ntracer_provider: { processors: [ ], sampler: { always_on: , always_off: } }",
			"3:39: telemetry.tracer_provider.sampler: takes exactly one of always_off, always_on, parent_based, trace_id_ratio_based"},
		"two pages": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus/development: } }\n    - periodic: { exporter: { console: } }\n    - pull: { exporter: { prometheus/development: } }",
			"7:9: telemetry.meter_provider.readers[2].pull: is the second one: there is one page for Prometheus, at /metrics"},
		"the place of another reader": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus/development: } }\n    - periodic: { exporter: { consol: } }",
			`6:33: telemetry.meter_provider.readers[1].periodic.exporter.consol: unknown key "consol": did you mean "console"?`},
		"an unknown strategy": {"file_format: \"1.0\"\nmeter_provider:\n  readers:\n    - pull: { exporter: { prometheus/development: { translation_strategy: x } } }",
			"5:17: telemetry.meter_provider.readers[0].pull.exporter: has an unknown translation_strategy"},
		"several at once": {"file_format: \"1.0\"\nlogger_provider: 5\ntracer_provder: {}",
			"3:20: telemetry.logger_provider: must be a mapping\nc.yaml:4:3: telemetry.tracer_provder: unknown key \"tracer_provder\": did you mean \"tracer_provider\"?"},
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
