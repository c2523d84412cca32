package plinth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/otel/setup"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// A host with every stage that emits something, and a store for each thing that
// goes wrong.
const observedConfig = `
allow_faults: true
stores:
  default: { backend: { plugin: memory }, pipeline: [
    { instrument: { tenant: { prefix: org/, until: /, max: 2 } } }, { rate_limit: { rate: 1000000 } }, cache: { max_bytes: 64KiB }, batch ] }
  limited: { backend: { plugin: memory }, pipeline: [ instrument, { rate_limit: { rate: 0.001, burst: 1 } } ] }
  failing: { backend: { plugin: memory }, pipeline: [
    instrument, { circuit_breaker: { failures: 2, delay: 1h } }, { retry: { attempts: 2, base_delay: 1ms, max_delay: 1ms } },
    { faults: { rules: [ { rate: 1, error: unavailable } ] } } ] }
`

// scrape makes traffic over a served host and returns what Prometheus would see.
func scrape(t *testing.T) map[string][]map[string]string {
	t.Helper()
	ctx := t.Context()
	tel, err := setup.Setup(ctx, nil, setup.Settings{Service: "plinth"})
	if err != nil {
		t.Fatal(err)
	}
	defer tel.Shutdown(context.Background())
	h, err := plinth.Open(ctx, "observed.yaml", plinth.WithModule("memory", module.Wasm), plinth.WithContent([]byte(observedConfig)), plinth.WithMeterProvider(tel.Meter),
		plinth.WithLogger(slog.New(slog.DiscardHandler)), plinth.WithCacheDir(compiled(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	stores := map[string]*storage.Store{}
	for _, s := range h.Stores() {
		stores[s.Name()] = s.Store
	}
	srv, err := server.New(server.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, server.Settings{Stores: stores, Metrics: tel.Metrics, Meter: tel.Meter, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv.Handler())
	defer web.Close()
	traffic(t, web.URL+"/v1/stores/", stores)
	overGRPC(t, tel, stores)
	res, err := http.Get(web.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return samples(t, res)
}

// overGRPC makes a call that succeeds, one that finds nothing and one that fails, as a
// client in a process like this.
func overGRPC(t *testing.T, tel *setup.Telemetry, stores map[string]*storage.Store) {
	t.Helper()
	srv, err := grpcserver.New(grpcserver.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, grpcserver.Settings{
		Stores: stores, Meter: tel.Meter, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := srv.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	for _, call := range []struct{ store, key string }{{"default", "key-0-0"}, {"default", "absent"}, {"failing", "k"}} {
		c, err := client.Dial(t.Context(), client.Config{Address: l.Addr().String(), Store: call.store, Attempts: 1},
			client.Settings{Meter: tel.Meter, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), []byte(call.key)); (err == nil) != (call.key == "key-0-0") {
			t.Errorf("%s of %s: %v", call.key, call.store, err)
		}
		c.Close(t.Context())
	}
	stop()
	<-ended // now all calls have been measured
}

func traffic(t *testing.T, url string, stores map[string]*storage.Store) {
	t.Helper()
	call := func(method, path, body string, header ...string) {
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if len(header) > 0 {
			req.Header.Set(header[0], header[1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	for i := range 3 {
		call(http.MethodPut, fmt.Sprintf("default/keys/org/%d/k?ttl=1h", i), "v")
		call(http.MethodGet, fmt.Sprintf("default/keys/org/%d/k", i), "")
		call(http.MethodGet, fmt.Sprintf("default/keys/org/%d/k", i), "")
	}
	now, err := stores["default"].Backend().Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	if err != nil {
		t.Fatal(err)
	}
	call(http.MethodPut, "default/keys/followed", "v")
	call(http.MethodGet, fmt.Sprintf("default/changes?after=%d", now.Next), "")
	call(http.MethodGet, "default/keys/absent", "")
	call(http.MethodGet, "default/keys?prefix=org/", "")
	call(http.MethodPut, "default/keys/org/0/k", "w", "If-None-Match", "*") // a conflict
	call(http.MethodGet, "limited/keys/k", "")
	call(http.MethodGet, "limited/keys/k", "") // over its rate
	for range 4 {
		call(http.MethodGet, "failing/keys/k", "")
	}
	var all sync.WaitGroup
	for i := range 8 { // some of them wait for the instance
		all.Go(func() {
			for n := range 500 {
				key := fmt.Appendf(nil, "key-%d-%d", i, n)
				stores["default"].Set(t.Context(), key, make([]byte, 100))
				stores["default"].Get(t.Context(), key)
				stores["default"].GetMany(t.Context(), slices.Repeat([][]byte{key}, 50)) // past the cache
			}
		})
	}
	all.Wait()
}

var (
	sampleForm = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? `)
	labelForm  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)
)

// samples are the labels of every sample, by the metric's name.
func samples(t *testing.T, res *http.Response) map[string][]map[string]string {
	t.Helper()
	page, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", res.Status, err)
	}
	out := map[string][]map[string]string{}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		m := sampleForm.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("no sample: %s", line)
		}
		labels := map[string]string{}
		for _, l := range labelForm.FindAllStringSubmatch(m[2], -1) {
			labels[l[1]] = l[2]
		}
		out[m[1]] = append(out[m[1]], labels)
	}
	return out
}

// expressions are the queries of the dashboard and of the alerts, by their titles.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	var dashboard struct {
		Templating struct {
			List []struct{ Name, Definition string }
		}
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	raw, err := os.ReadFile(filepath.Join("docs", "observability", "grafana-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, v := range dashboard.Templating.List {
		if v.Definition != "" {
			out["variable "+v.Name] = strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")")
		}
	}
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %s shows nothing", p.Title)
		}
		for i, target := range p.Targets {
			out[fmt.Sprintf("panel %s %d", p.Title, i)] = target.Expr
		}
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if raw, err = os.ReadFile(filepath.Join("docs", "observability", "alerts.yaml")); err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(strings.NewReader(string(raw)))
	d.KnownFields(true)
	if err := d.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("the alert %s says too little", r.Alert)
			}
			out["alert "+r.Alert] = r.Expr
		}
	}
	return out
}

var (
	selectorForm = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}`)
	matcherForm  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	groupingForm = regexp.MustCompile(`\b(by|ignoring|group_left)\s*\(([^)]*)\)`)
	windowForm   = regexp.MustCompile(`\[[^\]]*\]`)
	wordForm     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	functions    = []string{"sum", "max", "rate", "increase", "topk", "histogram_quantile", "and", "by", "ignoring", "group_left"}
	notOurs      = []string{"up"} // what Prometheus itself says of a target
)

// Every metric, label and value that the dashboard and the alerts ask for is
// emitted by a host that runs.
func TestDashboardAndAlerts(t *testing.T) {
	emitted := scrape(t)
	asked := expressions(t)
	if len(asked) < 45 {
		t.Fatalf("%d expressions", len(asked))
	}
	for _, title := range slices.Sorted(maps.Keys(asked)) {
		expr := asked[title]
		var groups []string
		rest := groupingForm.ReplaceAllStringFunc(expr, func(g string) string {
			if m := groupingForm.FindStringSubmatch(g); m[1] == "by" {
				groups = append(groups, wordForm.FindAllString(m[2], -1)...)
			}
			return ""
		})
		if title == "variable stage" || title == "variable store" { // metric, label
			metric, label, _ := cutLast(rest, ", ")
			rest, groups = metric, []string{label}
		}
		var metrics []string
		rest = selectorForm.ReplaceAllStringFunc(rest, func(s string) string {
			m := selectorForm.FindStringSubmatch(s)
			metrics = append(metrics, m[1])
			if !slices.Contains(notOurs, m[1]) && !matches(emitted[m[1]], m[2]) {
				t.Errorf("%s: nothing is %s", title, s)
			}
			return ""
		})
		for _, word := range wordForm.FindAllString(windowForm.ReplaceAllString(rest, ""), -1) {
			if !slices.Contains(functions, word) {
				metrics = append(metrics, word)
			}
		}
		if len(metrics) == 0 {
			t.Errorf("%s asks for nothing: %s", title, expr)
		}
		for _, metric := range metrics {
			if slices.Contains(notOurs, metric) {
				continue
			}
			if len(emitted[metric]) == 0 {
				t.Errorf("%s: there is no metric %s", title, metric)
			}
			for _, label := range groups {
				if !slices.ContainsFunc(emitted[metric], func(l map[string]string) bool { _, ok := l[label]; return ok }) {
					t.Errorf("%s: %s has no label %s", title, metric, label)
				}
			}
		}
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// matches reports whether one of the samples has every label that a selector asks
// for, with its value. A variable of the dashboard stands for any.
func matches(have []map[string]string, selector string) bool {
	return slices.ContainsFunc(have, func(labels map[string]string) bool {
		for _, m := range matcherForm.FindAllStringSubmatch(selector, -1) {
			value, ok := labels[m[1]]
			switch {
			case !ok:
				return false
			case strings.HasPrefix(m[3], "$"):
			case m[2] == "=" && value != m[3], m[2] == "!=" && value == m[3]:
				return false
			case m[2] == "=~" && !regexp.MustCompile("^(?:"+m[3]+")$").MatchString(value):
				return false
			}
		}
		return true
	})
}

// Names are OpenTelemetry's: dots between words become underscores, and a unit
// stands at the end. A name that changes is a dashboard that breaks.
func TestMetricNames(t *testing.T) {
	const want = `db_client_operation_duration_seconds http_server_active_requests http_server_request_duration_seconds
plinth_backend_stat plinth_batch_merged plinth_batch_ops plinth_cache_entries plinth_cache_evictions_total plinth_cache_lookups_total plinth_cache_size_bytes
plinth_changes_delay_seconds plinth_changes_followers plinth_circuit_breaker_changes_total plinth_circuit_breaker_open plinth_circuit_breaker_refused_total plinth_config_generation plinth_config_last_reload_failed plinth_faults_injected_total
plinth_instance_calls_total plinth_instance_count plinth_instance_memory_limit_bytes plinth_instance_memory_usage_bytes
plinth_instance_queue_wait_seconds plinth_instance_restarts_total plinth_plugin_log_dropped_total plinth_plugin_state plinth_rate_limit_decisions_total plinth_rate_limit_tenants
plinth_retry_attempts_total plinth_retry_exhausted_total plinth_server_auth_failures_total plinth_ttl_operations_total
rpc_client_call_duration_seconds rpc_server_call_duration_seconds`
	got := map[string]bool{}
	for name := range scrape(t) {
		for _, ours := range []string{"db_", "http_", "plinth_", "rpc_"} {
			if strings.HasPrefix(name, ours) {
				for _, part := range []string{"_bucket", "_sum", "_count"} {
					if name != "plinth_instance_count" {
						name = strings.TrimSuffix(name, part)
					}
				}
				got[name] = true
			}
		}
	}
	if names := strings.Join(slices.Sorted(maps.Keys(got)), " "); names != strings.Join(strings.Fields(want), " ") {
		t.Errorf("%s\nwant\n%s", names, want)
	}
}
