package setup_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"

	"github.com/plinthkv/plinth/otel/setup"
)

// What OpenTelemetry reports of itself goes into the program's log, in its form, and without
// the values that it was given.
func TestLogTo(t *testing.T) {
	var out bytes.Buffer
	was := slog.Default()
	t.Cleanup(func() { slog.SetDefault(was) })
	stderr := os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = w
	defer func() { os.Stderr = stderr }()
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT":        "http://127.0.0.1:1/SECRETPATH",
		"OTEL_EXPORTER_OTLP_HEADERS":         "authorization: Bearer SECRETX1",
		"OTEL_EXPORTER_OTLP_METRICS_HEADERS": "api-key=SECRET%20X2,bad%zz=SECRETX3",
		"OTEL_EXPORTER_OTLP_TIMEOUT":         "10s",
		"OTEL_EXPORTER_OTLP_CERTIFICATE":     "/no/file",
		"OTEL_METRIC_EXPORT_INTERVAL":        "x",
	} {
		t.Setenv(name, value)
	}
	clean := setup.LogTo(nil, slog.NewJSONHandler(&out, nil), nil)
	tel, err := setup.Setup(t.Context(), nil, setup.Settings{Service: "plinth"})
	if err == nil {
		_ = tel.Shutdown(t.Context())
	}
	otel.Handle(errors.New("403 Forbidden (body: denied for /SECRETPATH/v1/traces, with SECRET X2)"))
	w.Close()
	var printed bytes.Buffer
	printed.ReadFrom(r)
	if printed.Len() > 0 {
		t.Errorf("beside the log there is %s", &printed)
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if strings.Contains(out.String(), "SECRET") || !strings.Contains(out.String(), "parse headers") || !strings.Contains(out.String(), "denied for /…/v1/traces, with (hidden)") {
		t.Errorf("the log is\n%s", &out)
	}
	if got := clean("traces of http://127.0.0.1:1/v1/traces: metrics"); got != "traces of http://127.0.0.1:1/v1/traces: metrics" {
		t.Errorf("got %s", got)
	}
}

// The secrets of a section are cut from what a collector answers.
func TestSecretsOfASection(t *testing.T) {
	was := slog.Default()
	t.Cleanup(func() { slog.SetDefault(was) })
	clean := setup.LogTo(section(t, `
file_format: "1.0"
tracer_provider: { processors: [ { batch: { exporter: { otlp_http: { endpoint: "http://h:4318/v1/SECRETPATH/traces", headers: [ { name: authorization, value: "Bearer SECRETX1" } ] } } } } ] }
meter_provider: { readers: [ { periodic: { exporter: { otlp_http: { endpoint: "http://h:4318/v1/metrics", headers_list: "api-key=SECRETX2" } } } } ] }`),
		slog.DiscardHandler, func(text string) string { return strings.ReplaceAll(text, "http://", "") })
	for in, want := range map[string]string{
		"403 Forbidden (body: denied for /v1/SECRETPATH/traces)":        "403 Forbidden (body: denied for /…)",
		"http://h:4318/v1/SECRETPATH/traces: refused":                   "h:4318/…: refused",
		"no tenant SECRETPATH":                                          "no tenant …",
		"bad token Bearer SECRETX1, or SECRETX1, or api-key=SECRETX2":   "bad token (hidden), or (hidden), or (hidden)",
		"http://h:4318/v1/metrics: traces and metrics, Bearer requests": "h:4318/v1/metrics: traces and metrics, Bearer requests",
	} {
		if got := clean(in); got != want {
			t.Errorf("%s:\n%s, want\n%s", in, got, want)
		}
	}
}
