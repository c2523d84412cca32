package setup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/otel/plugin"
	"github.com/plinthkv/plinth/otel/setup"
)

// A plugin that is handed what the section says of traces sends its spans to where
// the host sends its own, and opens no page and sends no metrics and logs.
func TestForPlugins(t *testing.T) {
	got := &collector{}
	url := got.overHTTP(t)
	raw, err := setup.ForPlugins(section(t, `
file_format: "1.0"
resource: { attributes: [ { name: service.name, value: "a ${env:NAME:-b} $$ c" } ] }
tracer_provider: { processors: [ { batch: { exporter: { otlp_http: { endpoint: "`+url+`/v1/traces", headers: [ { name: authorization, value: "s$$$$e{1}" } ] } } } } ] }
meter_provider: { readers: [ { pull: { exporter: { prometheus/development: } } }, { periodic: { exporter: { otlp_http: { endpoint: "`+url+`/v1/metrics" } } } } ] }
logger_provider: { processors: [ { batch: { exporter: { otlp_http: { endpoint: "`+url+`/v1/logs" } } } } ] }`), setup.Settings{Service: "plinth", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"prometheus", "/v1/metrics", "/v1/logs", "$"} {
		if strings.Contains(string(raw), gone) {
			t.Errorf("%s is in %s", gone, raw)
		}
	}
	file := filepath.Join(t.TempDir(), "telemetry.yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(plugin.ConfigFile, file)
	tracer, stop := plugin.Traces()
	_, span := tracer.Tracer("test").Start(t.Context(), "a span")
	span.End()
	if err := stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(got.spans) != 1 || got.spans[0] != "a span "+span.SpanContext().TraceID().String() || got.service != "a b $ c" || got.authorization != "s$$e{1}" {
		t.Errorf("the collector has %q of %q, with %q", got.spans, got.service, got.authorization)
	}
}

// A plugin has a working directory of its own: paths of files are absolute for it.
func TestFilesForPlugins(t *testing.T) {
	raw, err := setup.ForPlugins(section(t, `
file_format: "1.0"
tracer_provider: { processors: [ { batch: { exporter: { otlp_grpc: { endpoint: "https://localhost:4317", tls: { ca_file: certs/ca.pem, cert_file: /etc/cert.pem, key_file: key.pem } } } } } ] }`), setup.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"ca_file":"` + here + `/certs/ca.pem"`, `"cert_file":"/etc/cert.pem"`, `"key_file":"` + here + `/key.pem"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is not in %s", want, raw)
		}
	}
}

// Where nothing is said of traces, plugins are handed nothing.
func TestNothingForPlugins(t *testing.T) {
	for name, yaml := range map[string]string{
		"no section":  "",
		"metrics":     `{ file_format: "1.0", meter_provider: { readers: [] } }`,
		"it is off":   `{ file_format: "1.0", disabled: true, tracer_provider: { processors: [ { simple: { exporter: { console: } } } ] } }`,
		"the default": `{ file_format: "1.0" }`,
	} {
		if raw, err := setup.ForPlugins(section(t, yaml), setup.Settings{}); err != nil || raw != nil {
			t.Errorf("%s: %s, %v", name, raw, err)
		}
	}
	if _, err := setup.ForPlugins(section(t, `{ file_format: "1.0", tracers: {} }`), setup.Settings{}); err == nil {
		t.Error("a key that does not exist is no error")
	}
}

// A plugin serves without its own spans where what it was handed is of no use.
func TestUselessForAPlugin(t *testing.T) {
	for _, content := range []string{"{", `{"file_format": "1.0", "tracer_provider": {"processors": [{"batch": {"exporter": {"otlp_http": {"endpoint": "::"}}}}]}}`} {
		file := filepath.Join(t.TempDir(), "telemetry.yaml")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(plugin.ConfigFile, file)
		tracer, stop := plugin.Traces()
		if tracer != nil {
			t.Errorf("%s: there is a provider", content)
		}
		if err := stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Setenv(plugin.ConfigFile, "")
	if tracer, _ := plugin.Traces(); tracer != nil {
		t.Error("there is a provider although nothing was handed over")
	}
}
