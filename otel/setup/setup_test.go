package setup_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/otel/setup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector is OpenTelemetry's, as far as tests need one: over HTTP and gRPC.
type collector struct {
	coltrace.UnimplementedTraceServiceServer
	mu      sync.Mutex
	spans   []string // name and trace
	metrics []string
	logs    []string // text and trace
	service string

	authorization string // of the last request over HTTP
}

func (c *collector) Export(_ context.Context, r *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range r.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" {
				c.service = a.Value.GetStringValue()
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.spans = append(c.spans, s.Name+" "+hex.EncodeToString(s.TraceId))
			}
		}
	}
	return &coltrace.ExportTraceServiceResponse{}, nil
}

type metricsCollector struct {
	colmetrics.UnimplementedMetricsServiceServer
	*collector
}

func (c metricsCollector) Export(_ context.Context, r *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rm := range r.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				c.metrics = append(c.metrics, m.Name)
			}
		}
	}
	return &colmetrics.ExportMetricsServiceResponse{}, nil
}

type logsCollector struct {
	collogs.UnimplementedLogsServiceServer
	*collector
}

func (c logsCollector) Export(_ context.Context, r *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rl := range r.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, l := range sl.LogRecords {
				c.logs = append(c.logs, l.Body.GetStringValue()+" "+hex.EncodeToString(l.TraceId))
			}
		}
	}
	return &collogs.ExportLogsServiceResponse{}, nil
}

// overHTTP serves c as OTLP over HTTP has it.
func (c *collector) overHTTP(t *testing.T) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	handle(mux, "/v1/traces", c.Export)
	handle(mux, "/v1/metrics", metricsCollector{collector: c}.Export)
	handle(mux, "/v1/logs", logsCollector{collector: c}.Export)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.authorization = r.Header.Get("Authorization")
		c.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func handle[Q, A any, PQ interface {
	*Q
	proto.Message
}, PA interface {
	*A
	proto.Message
}](mux *http.ServeMux, path string, export func(context.Context, PQ) (PA, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		raw, _ := io.ReadAll(body)
		q := PQ(new(Q))
		if err := proto.Unmarshal(raw, q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a, _ := export(r.Context(), q)
		out, _ := proto.Marshal(a)
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(out)
	})
}

// overGRPC serves c as OTLP over gRPC has it.
func (c *collector) overGRPC(t *testing.T) (address string) {
	t.Helper()
	s := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(s, c)
	colmetrics.RegisterMetricsServiceServer(s, metricsCollector{collector: c})
	collogs.RegisterLogsServiceServer(s, logsCollector{collector: c})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return "http://" + l.Addr().String()
}

// three is one of each: a span, a log record under it, and a metric.
func three(t *testing.T, tel *setup.Telemetry, local slog.Handler) (traceID string) {
	t.Helper()
	ctx, span := tel.Tracer.Tracer("test").Start(context.Background(), "a span")
	log := slog.New(tel.Handler(local))
	log.InfoContext(ctx, "a record", "a", 1)
	log.With("b", 2).WithGroup("g").DebugContext(ctx, "not asked for") // nor is it exported
	span.End()
	count(t, tel.Meter)
	return span.SpanContext().TraceID().String()
}

func count(t *testing.T, p metric.MeterProvider) {
	t.Helper()
	n, err := p.Meter("test").Int64Counter("plinth.test.things")
	if err != nil {
		t.Fatal(err)
	}
	n.Add(context.Background(), 3, metric.WithAttributes(attribute.String("db.namespace", "cities")))
}

// Everything reaches a collector, over HTTP and over gRPC, at the latest when
// the program ends.
func TestOTLP(t *testing.T) {
	for name, c := range map[string]struct {
		exporter func(*testing.T, *collector) func(signal string) string
	}{
		"http": {func(t *testing.T, c *collector) func(string) string {
			url := c.overHTTP(t)
			return func(signal string) string {
				return `otlp_http: { endpoint: "` + url + "/v1/" + signal + `", compression: gzip }`
			}
		}},
		"grpc": {func(t *testing.T, c *collector) func(string) string {
			address := c.overGRPC(t)
			return func(string) string { return `otlp_grpc: { endpoint: "` + address + `" }` }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := &collector{}
			to := c.exporter(t, got)
			tel, err := setup.Setup(t.Context(), section(t, `
file_format: "1.0"
tracer_provider: { processors: [ { batch: { exporter: { `+to("traces")+` } } } ] }
meter_provider: { readers: [ { periodic: { exporter: { `+to("metrics")+` } } } ] }
logger_provider: { processors: [ { batch: { exporter: { `+to("logs")+` } } } ] }`), setup.Settings{Service: "plinth", Version: "1"})
			if err != nil {
				t.Fatal(err)
			}
			var local bytes.Buffer
			trace := three(t, tel, slog.NewTextHandler(&local, nil))
			if err := tel.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			got.mu.Lock()
			defer got.mu.Unlock()
			if len(got.spans) != 1 || got.spans[0] != "a span "+trace || len(got.logs) != 1 || got.logs[0] != "a record "+trace ||
				len(got.metrics) != 1 || got.metrics[0] != "plinth.test.things" || got.service != "plinth" {
				t.Errorf("spans %q, logs %q, metrics %q of %s", got.spans, got.logs, got.metrics, got.service)
			}
			if tel.Metrics != nil {
				t.Error("there is a page for Prometheus that is not configured")
			}
			if !strings.Contains(local.String(), "a=1 trace_id="+trace+" span_id=") {
				t.Errorf("the local log has %s", local.String())
			}
		})
	}
}

// page is what Prometheus sees.
func page(t *testing.T, tel *setup.Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// Without a section, and with one that says nothing of metrics, there is a page
// for Prometheus and nothing is sent anywhere; with readers there is what they say.
func TestPrometheus(t *testing.T) {
	for name, c := range map[string]struct{ yaml, metric string }{
		"no section":     {"", `plinth_test_things_total{db_namespace="cities"`},
		"no metrics":     {`file_format: "1.0"`, `plinth_test_things_total{db_namespace="cities"`},
		"asked for":      {"file_format: \"1.0\"\nmeter_provider: { readers: [ { pull: { exporter: { prometheus/development: } } } ] }", `plinth_test_things_total{db_namespace="cities"`},
		"in other words": {"file_format: \"1.0\"\nmeter_provider: { readers: [ { pull: { exporter: { prometheus/development: { translation_strategy: underscore_escaping_without_suffixes, without_target_info: true } } } } ] }", `plinth_test_things{db_namespace="cities"`},
		"not asked for":  {"file_format: \"1.0\"\nmeter_provider: { readers: [ { periodic: { exporter: { otlp_http: { endpoint: \"http://127.0.0.1:1/v1/metrics\" } } } } ] }", ""},
		"disabled":       {"file_format: \"1.0\"\ndisabled: true", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tel, err := setup.Setup(t.Context(), section(t, c.yaml), setup.Settings{Service: "plinth", Version: "1"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
				defer cancel()
				_ = tel.Shutdown(ctx) // one of them has no collector
			}()
			if (tel.Metrics == nil) != (c.metric == "") {
				t.Fatalf("a page: %v", tel.Metrics != nil)
			}
			if tel.Tracer != nil || tel.Logger != nil {
				t.Error("there are traces or logs that are not configured")
			}
			if c.metric == "" {
				return
			}
			count(t, tel.Meter)
			got := page(t, tel)
			for _, want := range []string{c.metric, "go_goroutines ", "process_cpu_seconds_total "} {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in\n%s", want, got)
				}
			}
			// Other attributes may come from the environment, which the SDK reads once per process.
			if info := regexp.MustCompile(`(?m)^target_info\{.*service_name="plinth",service_version="1"`); info.MatchString(got) == strings.Contains(c.yaml, "without_target_info") {
				t.Errorf("%s: %v", info, got)
			}
		})
	}
}

// A hundred tenants have more series than the SDK keeps by itself.
func TestManySeries(t *testing.T) {
	tel, err := setup.Setup(t.Context(), nil, setup.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer tel.Shutdown(context.Background())
	n, err := tel.Meter.Meter("test").Int64Counter("plinth.test.things")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		n.Add(t.Context(), 1, metric.WithAttributes(attribute.Int("tenant", i)))
	}
	if got := page(t, tel); strings.Count(got, "plinth_test_things_total{") != 5000 || strings.Contains(got, "overflow") {
		t.Errorf("%d series", strings.Count(got, "plinth_test_things_total{"))
	}
}

// The console is standard output: that of a process of its own, as the exporters
// take it when the program starts.
func TestConsole(t *testing.T) {
	if os.Getenv("PLINTH_TEST_CONSOLE") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestConsole$")
		cmd.Env = append(os.Environ(), "PLINTH_TEST_CONSOLE=1")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"a span"`, `"a record"`, `"plinth.test.things"`} {
			if !bytes.Contains(out, []byte(want)) {
				t.Errorf("%s is not in\n%s", want, out)
			}
		}
		return
	}
	tel, err := setup.Setup(t.Context(), section(t, `
file_format: "1.0"
tracer_provider: { processors: [ { simple: { exporter: { console: } } } ] }
meter_provider: { readers: [ { periodic: { exporter: { console: } } } ] }
logger_provider: { processors: [ { simple: { exporter: { console: } } } ] }`), setup.Settings{Service: "plinth"})
	if err != nil {
		t.Fatal(err)
	}
	three(t, tel, slog.DiscardHandler)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A collector that accepts and never answers keeps no program from ending.
func TestShutdownIsBounded(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	tel, err := setup.Setup(t.Context(), section(t, `
file_format: "1.0"
tracer_provider: { processors: [ { batch: { exporter: { otlp_http: { endpoint: "`+s.URL+`/v1/traces" } } } } ] }`), setup.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer.Tracer("test").Start(t.Context(), "a span")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := tel.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// What otelconf alone can refuse has its place too, and nothing stays behind.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"no certificate": {"file_format: \"1.0\"\ntracer_provider: { processors: [ { simple: { exporter: { otlp_http: { endpoint: \"https://localhost:4318\", tls: { ca_file: none.pem } } } } } ] }", "none.pem"},
	} {
		_, err := setup.Setup(t.Context(), section(t, c.yaml), setup.Settings{})
		if err == nil || !strings.HasPrefix(err.Error(), "c.yaml:1:1: telemetry: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("OTEL_CONFIG_FILE", "elsewhere.yaml")
	if _, err := setup.Setup(t.Context(), section(t, `file_format: "1.0"`), setup.Settings{}); err == nil || !strings.Contains(err.Error(), "OTEL_CONFIG_FILE") {
		t.Errorf("%v", err)
	}
}

// Records are found under their spans in logs that are read as text and JSON,
// and are left alone where there is none.
func TestWithTraceContext(t *testing.T) {
	tel, err := setup.Setup(t.Context(), section(t, "file_format: \"1.0\"\ntracer_provider: { processors: [ { simple: { exporter: { console: } } } ] }"), setup.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer tel.Shutdown(context.Background())
	ctx, span := tel.Tracer.Tracer("test").Start(t.Context(), "not ended")
	var out bytes.Buffer
	log := slog.New(setup.WithTraceContext(slog.NewJSONHandler(&out, nil))).With("a", 1)
	log.InfoContext(ctx, "under it")
	log.Info("under none")
	under, none, _ := strings.Cut(out.String(), "\n")
	want := `"a":1,"trace_id":"` + span.SpanContext().TraceID().String() + `","span_id":"` + span.SpanContext().SpanID().String() + `"`
	if !strings.Contains(under, want) || strings.Contains(none, "trace_id") {
		t.Errorf("%s", out.String())
	}
}
