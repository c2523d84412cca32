package setup_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"

	"github.com/plinthkv/plinth/otel/setup"
)

// Where there is no section, OpenTelemetry's variables say what is sent, and where to.
func TestEnvironment(t *testing.T) {
	const all = "traces metrics logs"
	for name, c := range map[string]struct {
		env     map[string]string // TO and GRPC stand for the collector
		sent    string
		service string
		warns   string
	}{
		"nothing":                    {nil, "", "", ""},
		"an endpoint":                {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "TO"}, all, "plinth", ""},
		"an empty variable":          {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_SDK_DISABLED": "", "OTEL_SERVICE_NAME": ""}, "", "", ""},
		"over gRPC":                  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "GRPC", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, all, "plinth", ""},
		"one signal":                 {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "TO/v1/traces"}, "traces", "plinth", ""},
		"all but one":                {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "TO", "OTEL_METRICS_EXPORTER": "none"}, "traces logs", "plinth", ""},
		"the page for one":           {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "TO", "OTEL_METRICS_EXPORTER": "prometheus"}, "traces logs", "plinth", ""},
		"no samples":                 {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "TO", "OTEL_TRACES_SAMPLER": "always_off"}, "metrics logs", "", ""},
		"a name":                     {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "TO", "OTEL_SERVICE_NAME": "shelf"}, all, "shelf", ""},
		"a name among attributes":    {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "TO", "OTEL_RESOURCE_ATTRIBUTES": "service.name=shelf,a=b"}, all, "shelf", ""},
		"disabled":                   {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "TO", "OTEL_SDK_DISABLED": "TRUE"}, "", "", ""},
		"not disabled":               {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "TO", "OTEL_SDK_DISABLED": "1"}, all, "plinth", "OTEL_SDK_DISABLED is neither true nor false"},
		"an endpoint without scheme": {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "localhost:4318"}, "", "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must begin with http:// or https://: traces are not exported"},
		"a port that is none":        {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:99999"}, "", "", "OTEL_EXPORTER_OTLP_ENDPOINT must have a port from 1 to 65535, or none for the default: traces, metrics and logs are not exported"},
		"a path over gRPC":           {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317/v1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_LOGS_EXPORTER": "none"}, "", "", "OTEL_EXPORTER_OTLP_ENDPOINT has a path, which gRPC does not send: traces and metrics are not exported"},
		"an unknown exporter":        {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, "", "", `OTEL_TRACES_EXPORTER is "zipkin"`},
		"an unknown protocol":        {map[string]string{"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_ENDPOINT": "TO"}, "traces metrics", "plinth", `OTEL_EXPORTER_OTLP_LOGS_PROTOCOL is "http/json"`},
		"what nobody reads":          {map[string]string{"OTEL_LOG_LEVEL": "debug"}, "", "", "OTEL_LOG_LEVEL has no effect: use PLINTH_LOG_LEVEL"},
		"a file":                     {map[string]string{"OTEL_CONFIG_FILE": "otel.yaml"}, "", "", "OTEL_CONFIG_FILE has no effect: put its content into the section telemetry"},
	} {
		t.Run(name, func(t *testing.T) {
			got := &collector{}
			to := strings.NewReplacer("TO", got.overHTTP(t), "GRPC", got.overGRPC(t))
			for name, value := range c.env {
				if strings.HasSuffix(name, "ENDPOINT") {
					value = to.Replace(value)
				}
				t.Setenv(name, value)
			}
			tel, err := setup.Setup(t.Context(), nil, setup.Settings{Service: "plinth"})
			if err != nil {
				t.Fatal(err)
			}
			if warned := strings.Join(tel.Warnings, "\n"); c.warns == "" && warned != "" || strings.Count(warned, c.warns) != 1 && c.warns != "" {
				t.Errorf("it warns of %q, want %q", warned, c.warns)
			}
			if tel.Tracer != nil {
				_, span := tel.Tracer.Tracer("test").Start(context.Background(), "a span")
				span.End()
			}
			if tel.Meter != nil {
				count(t, tel.Meter)
			}
			slog.New(tel.Handler(slog.DiscardHandler)).Info("a record")
			if err := tel.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if page := tel.Metrics != nil; page == (c.env["OTEL_SDK_DISABLED"] == "TRUE") {
				t.Errorf("a page for Prometheus: %v", page)
			}
			got.mu.Lock()
			defer got.mu.Unlock()
			for signal, n := range map[string]int{"traces": len(got.spans), "metrics": len(got.metrics), "logs": len(got.logs)} {
				if want := strings.Contains(c.sent, signal); (n > 0) != want {
					t.Errorf("%d %s have arrived, want some: %v", n, signal, want)
				}
			}
			if got.service != c.service && strings.Contains(c.sent, "traces") {
				t.Errorf("the service is %q, want %q", got.service, c.service)
			}
		})
	}
}

// A section decides what is sent, and takes from the environment only whether
// everything is off, and the name of the service: everything else that is set and has
// no effect is reported.
func TestEnvironmentBesideASection(t *testing.T) {
	got := &collector{}
	to := got.overHTTP(t)
	yaml := `
file_format: "1.0"
tracer_provider: { processors: [ { batch: { exporter: { otlp_http: { endpoint: "` + to + `/v1/traces" } } } } ] }`
	for name, value := range map[string]string{"OTEL_TRACES_SAMPLER": "always_off", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_RESOURCE_ATTRIBUTES": "service.name=shelf"} {
		t.Setenv(name, value)
	}
	trace := func(yaml string) *setup.Telemetry {
		tel, err := setup.Setup(t.Context(), section(t, yaml), setup.Settings{Service: "plinth"})
		if err != nil {
			t.Fatal(err)
		}
		if tel.Tracer != nil {
			_, span := tel.Tracer.Tracer("test").Start(context.Background(), "a span")
			span.End()
		}
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		return tel
	}
	tel := trace(yaml)
	if want := "OTEL_LOGS_EXPORTER has no effect, because the section telemetry is set\nOTEL_TRACES_SAMPLER has no effect, because the section telemetry is set"; strings.Join(tel.Warnings, "\n") != want {
		t.Errorf("it warns of %q", tel.Warnings)
	}
	if tel.Logger != nil || len(got.spans) != 1 || got.service != "shelf" {
		t.Errorf("%d spans of %q, logs: %v", len(got.spans), got.service, tel.Logger)
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if tel := trace(yaml); tel.Tracer != nil || tel.Metrics != nil {
		t.Error("OTEL_SDK_DISABLED disables nothing")
	}
	if trace(yaml + "\ndisabled: false"); len(got.spans) != 2 {
		t.Error("the section does not have the last word")
	}
}

// Propagators of the environment read the trace context of requests.
func TestEnvironmentPropagators(t *testing.T) {
	for value, want := range map[string]string{"": "traceparent", "b3": "b3", "tracecontext,b3multi": "traceparent"} {
		t.Setenv("OTEL_PROPAGATORS", value)
		tel, err := setup.Setup(t.Context(), nil, setup.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		if fields := strings.Join(tel.Propagator.Fields(), " "); !strings.Contains(fields, want) {
			t.Errorf("%q reads %s, want %s", value, fields, want)
		}
		tel.Propagator.Extract(t.Context(), propagation.MapCarrier{})
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A processor that has callers wait for a collector is warned of, unless it is the console.
func TestSimpleProcessors(t *testing.T) {
	const yaml = `
file_format: "1.0"
tracer_provider: { processors: [ { batch: { exporter: { console: } } }, { simple: { exporter: { otlp_http: { endpoint: "http://localhost/v1/traces" } } } } ] }
logger_provider: { processors: [ { simple: { exporter: { console: } } }, { simple: { exporter: { otlp_grpc: } } } ] }`
	got := setup.Warnings(section(t, yaml))
	if len(got) != 2 || !strings.Contains(got[0], "c.yaml:3:") || !strings.Contains(got[0], "telemetry.tracer_provider.processors[1].simple: runs as batch with a delay of 100ms") ||
		!strings.Contains(got[1], "telemetry.logger_provider.processors[1].simple") {
		t.Errorf("%q", got)
	}
}

// Wrong values are warned of, with a section and without one, and what is right is not.
func TestWrongVariables(t *testing.T) {
	for _, c := range []struct{ name, wrong, warning, right string }{
		{"OTEL_TRACES_SAMPLER", "foo", `is "foo", it must be one of always_on`, "parentbased_traceidratio"},
		{"OTEL_TRACES_SAMPLER", "jaeger_remote", `is "jaeger_remote", it must be one of`, "always_off"},
		{"OTEL_TRACES_SAMPLER_ARG", "2", "must be a number from 0 to 1", "0.5"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer SECRETX", "must be NAME=VALUE pairs with commas between and %-escapes for special characters: entry 1 is not one", "a=b,c=Bearer%20x"},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b,c=%zz", "entry 2 is not one", "a=b"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "must be a whole number of milliseconds, at least 0", "10000"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", `is "zstd", it must be one of gzip, none`, "gzip"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", `is "http/json", it must be one of grpc, http/protobuf`, "grpc"},
		{"OTEL_EXPORTER_OTLP_INSECURE", "yes", `is "yes", it must be one of true, false`, "TRUE"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "/nofile", "names a file that cannot be read: stat /nofile: no such file", ""},
		{"OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "environment_test.go", "names a file without a certificate (PEM)", ""},
		{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/", "does not name a file", ""},
		{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nofile", "names a file that cannot be read", ""},
		{"OTEL_RESOURCE_ATTRIBUTES", "bad", "must be NAME=VALUE pairs", "a=b, c=d"},
		{"OTEL_PROPAGATORS", "tracecontext,zz", `contains "zz", it must be some of tracecontext, baggage`, "tracecontext,baggage"},
		{"OTEL_BSP_SCHEDULE_DELAY", "x", "must be a whole number of milliseconds, at least 0", "500"},
		{"OTEL_BLRP_MAX_QUEUE_SIZE", "0", "must be a whole number, at least 1", "100"},
		{"OTEL_METRIC_EXPORT_INTERVAL", "1m", "must be a whole number of milliseconds, at least 1", "1000"},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "foo", `is "foo", it must be one of cumulative, delta, lowmemory`, "Delta"},
		{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "foo", `is "foo", it must be one of explicit_bucket_histogram`, "base2_exponential_bucket_histogram"},
		{"OTEL_METRICS_EXEMPLAR_FILTER", "zz", `is "zz", it must be one of always_on`, "trace_based"},
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x", "must be a whole number; a negative one means no limit", "-1"},
		{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1k", "must be a whole number", "1000"},
		{"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "010", "must be a whole number", "10"},
	} {
		for _, yaml := range []string{"", `file_format: "1.0"`} {
			warned := func(value string) string {
				t.Setenv(c.name, value)
				return strings.Join(setup.Warnings(section(t, yaml)), "\n")
			}
			want := c.warning
			if yaml != "" && (strings.HasPrefix(c.name, "OTEL_TRACES_SAMPLER") || c.name == "OTEL_PROPAGATORS") {
				want = "has no effect, because the section telemetry is set"
			} else if got := warned(c.right); got != "" {
				t.Errorf("%s=%s: %s", c.name, c.right, got)
			}
			if got := warned(c.wrong); !strings.HasPrefix(got, c.name+" ") || !strings.Contains(got, want) || strings.Contains(got, "\n") || strings.Contains(got, "SECRET") {
				t.Errorf("%s=%s: %s, want %s", c.name, c.wrong, got, want)
			}
			t.Setenv(c.name, "")
		}
	}
}
