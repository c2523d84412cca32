package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/server"
)

func values(kv []attribute.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range kv {
		m[string(a.Key)] = a.Value.String()
	}
	return m
}

// observed is a server whose spans and metrics are kept.
func observed(t *testing.T, edit func(*server.Config, *server.Settings)) (*served, *tracetest.InMemoryExporter, *sdkmetric.ManualReader) {
	t.Helper()
	spans, reader := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()
	s := serve(t, func(c *server.Config, settings *server.Settings) {
		settings.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		settings.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		if edit != nil {
			edit(c, settings)
		}
	})
	return s, spans, reader
}

// A request is a span by the conventions for HTTP: named by its route, with its
// status, under the caller's, and without the key.
func TestSpans(t *testing.T) {
	s, spans, _ := observed(t, nil)
	for _, c := range []struct {
		request, name, route, path, status string
	}{
		{"PUT /v1/stores/s/keys/secret/part%2f", "PUT /v1/stores/{store}/keys/{key}", "/v1/stores/{store}/keys/{key}", "/v1/stores/s/keys/REDACTED", "204"},
		{"GET /v1/stores/s/keys/secret", "GET /v1/stores/{store}/keys/{key}", "/v1/stores/{store}/keys/{key}", "/v1/stores/s/keys/REDACTED", "404"},
		{"HEAD /v1/stores/s/keys/", "HEAD /v1/stores/{store}/keys/{key}", "/v1/stores/{store}/keys/{key}", "/v1/stores/s/keys/REDACTED", "404"},
		{"GET /v1/stores/s/keys?prefix=secret", "GET /v1/stores/{store}/keys", "/v1/stores/{store}/keys", "/v1/stores/s/keys", "200"},
		{"GET /v1/stores/none/keys/secret", "GET /v1/stores/{store}/keys/{key}", "/v1/stores/{store}/keys/{key}", "/v1/stores/none/keys/REDACTED", "404"},
		{"PATCH /v1/stores/s/keys", "PATCH /v1/stores/{store}/keys", "/v1/stores/{store}/keys", "/v1/stores/s/keys", "405"},
		{"BREW /v1/stores/s/keys/secret", "HTTP /v1/stores/{store}/keys/{key}", "/v1/stores/{store}/keys/{key}", "/v1/stores/s/keys/REDACTED", "405"},
	} {
		spans.Reset()
		s.raw(c.request+"\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\ntracestate: vendor=1\nUser-Agent: a test", "")
		got := spans.GetSpans()
		if len(got) != 1 {
			t.Errorf("%s: %d spans", c.request, len(got))
			continue
		}
		span, a := got[0], values(got[0].Attributes)
		if span.Name != c.name || span.SpanKind != trace.SpanKindServer || a["http.route"] != c.route || a["url.path"] != c.path ||
			a["http.response.status_code"] != c.status || a["url.scheme"] != "http" || a["server.address"] == "" || a["network.protocol.version"] != "1.1" || a["user_agent.original"] != "a test" {
			t.Errorf("%s: %s %v", c.request, span.Name, a)
		}
		if span.Parent.SpanID().String() != "00f067aa0ba902b7" || !span.Parent.IsRemote() || span.SpanContext.TraceState().String() != "vendor=1" || span.Status.Code != codes.Unset {
			t.Errorf("%s: under %v, %v", c.request, span.Parent, span.Status)
		}
		if strings.Contains(fmt.Sprint(span), "secret") {
			t.Errorf("%s: the key is in %v", c.request, span)
		}
	}
}

// What is not about a store has no span: a stranger's path, a probe, the page of
// metrics. A trace context that is none is ignored.
func TestNoSpans(t *testing.T) {
	s, spans, _ := observed(t, func(_ *server.Config, settings *server.Settings) { settings.Metrics = http.NotFoundHandler() })
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/", "/v2/x", "/v1/stores/s/other"} {
		s.raw("GET "+path, "")
	}
	if n := len(spans.GetSpans()); n != 0 {
		t.Errorf("%d spans", n)
	}
	for _, parent := range []string{"", "00-0-0-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", strings.Repeat("x", 1000)} {
		spans.Reset()
		s.raw("GET /v1/stores/s/keys/k\ntraceparent: "+parent, "")
		if got := spans.GetSpans(); len(got) != 1 || got[0].Parent.IsValid() {
			t.Errorf("%q: %v", parent, got)
		}
	}
}

// A failure of the server's is an error in its span and its metric.
func TestSpanOfAFailure(t *testing.T) {
	s, spans, reader := observed(t, func(_ *server.Config, settings *server.Settings) { settings.Stores["gone"] = settings.Stores["s"] })
	if err := s.store.Backend().Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	a := s.raw("GET /v1/stores/gone/keys/k", "")
	got := spans.GetSpans()
	if a.status < 500 || len(got) != 1 || got[0].Status.Code != codes.Error || values(got[0].Attributes)["error.type"] != fmt.Sprint(a.status) {
		t.Fatalf("%d: %v", a.status, got)
	}
	counts := requests(t, reader)
	if want := fmt.Sprintf("GET /v1/stores/{store}/keys/{key} %d %d", a.status, a.status); counts[want] != 1 {
		t.Errorf("%v, want %s", counts, want)
	}
}

// requests are the measured ones, by method, route, status and error.
func requests(t *testing.T, reader *sdkmetric.ManualReader) map[string]uint64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					a := values(p.Attributes.ToSlice())
					name := fmt.Sprintf("%s %s %s %s", a["http.request.method"], a["http.route"], a["http.response.status_code"], a["error.type"])
					out[strings.TrimSpace(strings.ReplaceAll(name, "  ", " "))] += p.Count
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					if p.Value != 0 {
						t.Errorf("%d requests are said to be in flight", p.Value)
					}
				}
			}
		}
	}
	return out
}

// Labels have few values, whatever callers invent.
func TestRequestMetrics(t *testing.T) {
	s, _, reader := observed(t, nil)
	for i := range 20 {
		s.raw(fmt.Sprintf("GET /v1/stores/s/keys/k%d", i), "")
		s.raw(fmt.Sprintf("M%d /v1/stores/s%d/keys/k%d", i, i, i), "")
		s.raw(fmt.Sprintf("GET /nothing/%d", i), "")
	}
	s.raw("GET /livez", "")
	got := requests(t, reader)
	want := map[string]uint64{"GET /v1/stores/{store}/keys/{key} 404": 20, "_OTHER /v1/stores/{store}/keys/{key} 404": 20, "GET 404": 20, "GET /livez 200": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The page of metrics has the same access checks as the stores, except how many
// may come at once; without one there is nothing there.
func TestMetricsPage(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "numbers 1\n") })
	s, _, _ := observed(t, func(c *server.Config, settings *server.Settings) {
		c.Token, settings.Metrics = secret.Copy("sesame"), page
	})
	for request, status := range map[string]int{
		"GET /metrics": http.StatusUnauthorized,
		"GET /metrics\nAuthorization: Bearer wrong":                              http.StatusUnauthorized,
		"GET /metrics\nAuthorization: Bearer sesame":                             http.StatusOK,
		"GET /metrics\nAuthorization: Bearer sesame\nHost: evil.example":         http.StatusForbidden,
		"GET /metrics\nAuthorization: Bearer sesame\nSec-Fetch-Site: cross-site": http.StatusForbidden,
		"GET /metrics/\nAuthorization: Bearer sesame":                            http.StatusNotFound,
	} {
		if a := s.raw(request, ""); a.status != status || status == http.StatusOK && a.body != "numbers 1\n" {
			t.Errorf("%s: %d %s", request, a.status, a.body)
		}
	}
	none := serve(t, nil)
	if a := none.raw("GET /metrics", ""); a.status != http.StatusNotFound {
		t.Errorf("without a page: %d", a.status)
	}
}

// Without providers a request costs nothing for telemetry.
func BenchmarkObserved(b *testing.B) {
	for name, settings := range map[string]server.Settings{
		"not at all": {},
		"measured":   {Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))},
		"not sampled": {Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
			Tracer: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))},
	} {
		b.Run(name, func(b *testing.B) {
			srv, err := server.New(server.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, settings)
			if err != nil {
				b.Fatal(err)
			}
			h, r := srv.Handler(), httptest.NewRequest(http.MethodGet, "http://localhost/v1/stores/none/keys/k", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
