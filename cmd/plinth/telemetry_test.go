package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
)

// collector is one of OpenTelemetry's that keeps names and traces.
type collector struct {
	mu    sync.Mutex
	spans map[string]span   // by name; the first of each
	logs  map[string]string // to their trace
}

type span struct{ trace, id, parent, service string }

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.URL.Path {
	case "/v1/traces":
		var q coltrace.ExportTraceServiceRequest
		if proto.Unmarshal(raw, &q) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for _, rs := range q.ResourceSpans {
			service := ""
			for _, a := range rs.Resource.Attributes {
				if a.Key == "service.name" {
					service = a.Value.GetStringValue()
				}
			}
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					if _, ok := c.spans[s.Name]; !ok {
						c.spans[s.Name] = span{hex.EncodeToString(s.TraceId), hex.EncodeToString(s.SpanId), hex.EncodeToString(s.ParentSpanId), service}
					}
				}
			}
		}
	case "/v1/logs":
		var q collogs.ExportLogsServiceRequest
		if proto.Unmarshal(raw, &q) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for _, rl := range q.ResourceLogs {
			for _, sl := range rl.ScopeLogs {
				for _, l := range sl.LogRecords {
					c.logs[l.Body.GetStringValue()] = hex.EncodeToString(l.TraceId)
				}
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func newCollector(t *testing.T) (c *collector, url string) {
	c = &collector{spans: map[string]span{}, logs: map[string]string{}}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return c, s.URL
}

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

// tracedCall is a request that is part of that trace, and its body.
func tracedCall(t *testing.T, method, url string) string {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("traceparent", "00-"+traceID+"-00f067aa0ba902b7-01")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// serving runs "plinth serve" until end is called, and returns its URL.
func serving(t *testing.T, yaml string, args ...string) (url string, log *output, end func() int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plinth.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	code, log := make(chan int, 1), &output{}
	go func() {
		code <- run(ctx, append([]string{"serve", "-c", file, "--grpc", "127.0.0.1:0"}, args...), env{stdin: strings.NewReader(""), stdout: w, stderr: log, environ: []string{"PLINTH_CACHE_DIR=" + sharedCache(t)}})
		w.Close()
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		cancel()
		t.Fatalf("serve ended with %d: %s", <-code, log)
	}
	_, rest, _ := strings.Cut(line, "http://")
	at := strings.IndexAny(rest, "\", ")
	go io.Copy(io.Discard, r)
	return "http://" + rest[:at], log, func() int {
		cancel()
		return <-code
	}
}

// A collector that never answers holds no call, and does not make a stop fail: what could
// not be sent is reported.
func TestStopWithADeadCollector(t *testing.T) {
	for _, processor := range []string{"batch", "simple"} {
		t.Run(processor, func(t *testing.T) {
			t.Parallel()
			stopWithADeadCollector(t, processor)
		})
	}
}

func stopWithADeadCollector(t *testing.T, processor string) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close() // it takes connections, and never answers
	url, log, end := serving(t, `
stores: { default: { backend: { plugin: memory }, pipeline: [instrument] } }
server: { http: 127.0.0.1:0, grpc: "" }
telemetry:
  file_format: "1.0"
  tracer_provider: { processors: [ { `+processor+`: { exporter: { otlp_http: { endpoint: "http://`+dead.Addr().String()+`/v1/traces" } } } } ] }
  logger_provider: { processors: [ { `+processor+`: { exporter: { otlp_http: { endpoint: "http://`+dead.Addr().String()+`/v1/logs" } } } } ] }
`)
	start := time.Now()
	tracedCall(t, http.MethodPut, url+"/v1/stores/default/keys/k")
	if took := time.Since(start); took > 4*time.Second { // an attempt has ten
		t.Errorf("a call took %s", took)
	}
	start = time.Now()
	if code := end(); code != exitDone {
		t.Errorf("it ended with %d: %s", code, log)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if !strings.Contains(log.String(), "not all telemetry was sent") {
		t.Errorf("it does not say so: %s", log)
	}
}

// What the configuration says of telemetry is done: spans and logs reach the
// collector before the program ends, under the trace of the caller, whose id is
// in the local log too; and Prometheus finds its page.
func TestServeTelemetry(t *testing.T) {
	c, otlp := newCollector(t)
	url, log, end := serving(t, `
allow_faults: true
stores:
  default: { backend: { plugin: memory }, pipeline: [ instrument, { faults: { rules: [ { prefix: broken, rate: 1, error: internal } ] } } ] }
server: { http: 127.0.0.1:0, grpc: "" }
telemetry:
  file_format: "1.0"
  tracer_provider: { processors: [ { batch: { exporter: { otlp_http: { endpoint: "`+otlp+`/v1/traces" } } } } ] }
  logger_provider: { processors: [ { simple: { exporter: { otlp_http: { endpoint: "`+otlp+`/v1/logs" } } } } ] }
`, "--log", "json")
	tracedCall(t, http.MethodGet, url+"/v1/stores/default/keys/k")
	tracedCall(t, http.MethodPut, url+"/v1/stores/default/keys/k")
	tracedCall(t, http.MethodGet, url+"/v1/stores/default/keys/broken")
	page := tracedCall(t, http.MethodGet, url+"/metrics")
	if code := end(); code != 0 {
		t.Fatalf("it ended with %d: %s", code, log)
	}
	for _, want := range []string{`db_client_operation_duration_seconds_count{db_namespace="default",db_operation_name="set"`, `http_server_request_duration_seconds_count{`, "plinth_instance_calls_total{", `target_info{service_name="plinth"`} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is not on the page:\n%s", want, page)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range []string{"GET /v1/stores/{store}/keys/{key}", "get default", "set default", "plinth.wasm get", "plinth.wasm apply"} {
		if c.spans[name].trace != traceID {
			t.Errorf("the collector has %s as %+v", name, c.spans[name])
		}
	}
	if c.logs["request failed"] != traceID {
		t.Errorf("the collector has the logs %q", c.logs)
	}
	found := false
	for line := range strings.Lines(log.String()) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil && record["msg"] == "request failed" {
			found = record["trace_id"] == traceID && record["span_id"] != nil
		}
	}
	if !found {
		t.Errorf("the local log has %s", log)
	}
}

// The trace goes on into a plugin's process, whose own spans reach the collector
// under those of the host, and from there into what the plugin asks.
func TestServeTelemetryOfAPlugin(t *testing.T) {
	c, otlp := newCollector(t)
	cluster := ledgerCluster(t, ledgertest.Options{})
	var mu sync.Mutex
	var heard []string
	cluster.Hook(ledgertest.Hooks{Before: func(ctx context.Context, _ *ledgertest.Node, method string) error {
		if md, _ := metadata.FromIncomingContext(ctx); strings.HasSuffix(method, "/Read") {
			mu.Lock()
			defer mu.Unlock()
			heard = md.Get("traceparent")
		}
		return nil
	}})
	url, log, end := serving(t, fmt.Sprintf(`
stores:
  default: { backend: { plugin: ledger, config: { endpoints: [%s], organization: %d, vault: %d } }, pipeline: [ instrument ] }
server: { http: 127.0.0.1:0, grpc: "" }
telemetry:
  file_format: "1.0"
  resource: { attributes: [ { name: service.name, value: "shop $$ {1}" } ] }
  tracer_provider: { processors: [ { batch: { exporter: { otlp_http: { endpoint: "%s/v1/traces" } } } } ] }
`, cluster.Endpoints()[0], ledgertest.Organization, ledgertest.Vault, otlp)+soonGone)
	tracedCall(t, http.MethodGet, url+"/v1/stores/default/keys/k")
	if code := end(); code != 0 {
		t.Fatalf("it ended with %d: %s", code, log)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	parent := "00f067aa0ba902b7"
	for _, name := range []string{"GET /v1/stores/{store}/keys/{key}", "get default", "plinth.process get", "ledger.v1.ReadService/Read"} {
		s, ok := c.spans[name]
		if !ok || s.trace != traceID || s.parent != parent || s.service != "shop $ {1}" {
			t.Errorf("the collector has %s as %+v, its parent is to be %s", name, s, parent)
		}
		parent = s.id
	}
	mu.Lock()
	defer mu.Unlock()
	if want := "00-" + traceID + "-" + parent + "-01"; len(heard) != 1 || heard[0] != want {
		t.Errorf("the cluster hears of %q, want %q", heard, want)
	}
}

// A collector that is gone does not keep the program from serving, and delays its end
// by a bounded time; the log reports it.
func TestServeWithoutItsCollector(t *testing.T) {
	url, log, end := serving(t, `
server: { http: 127.0.0.1:0, grpc: "" }
telemetry:
  file_format: "1.0"
  tracer_provider: { processors: [ { simple: { exporter: { otlp_http: { endpoint: "http://127.0.0.1:1/v1/traces", timeout: 100 } } } } ] }
`)
	res, err := http.Get(url + "/v1/stores/default/keys/k")
	if err != nil || res.StatusCode != http.StatusNotFound {
		t.Fatalf("%v %v", res, err)
	}
	res.Body.Close()
	start := time.Now()
	end()
	if took := time.Since(start); took > telemetryFlush+10*time.Second {
		t.Errorf("it took %s to end", took)
	}
	if !strings.Contains(log.String(), "telemetry") {
		t.Errorf("the log has %s", log)
	}
}
