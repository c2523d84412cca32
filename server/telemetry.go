package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/internal/budget"
	"github.com/plinthkv/plinth/internal/gatekeeper"
)

// scope is the instrumentation scope of what the server emits.
const scope = "github.com/plinthkv/plinth/server"

// durationBounds are those that the semantic conventions demand for HTTP, in
// seconds, and one finer.
var durationBounds = []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// telemetry makes a span and a duration of every request, by OpenTelemetry's
// semantic conventions for HTTP. The zero value does nothing.
type telemetry struct {
	tracer     trace.Tracer // nil means no spans
	propagator propagation.TextMapPropagator
	duration   metric.Float64Histogram // nil means no durations
	active     metric.Int64UpDownCounter
	activeBy   map[string][]metric.AddOption // by method
	scheme     string
	names      map[[2]string]string // of spans, by method and route
	start      []trace.SpanStartOption
	sets       sync.Map // label → []metric.RecordOption; as many as there are routes, methods and answers
}

// label has the attributes of durations. Each of them has few values.
type label struct {
	method, route string
	status        int
}

func newTelemetry(s Settings, tls bool, guard *gatekeeper.Guard) (*telemetry, error) {
	t := &telemetry{propagator: s.Propagator, scheme: "http"}
	if tls {
		t.scheme = "https"
	}
	if t.propagator == nil {
		t.propagator = propagation.TraceContext{}
	}
	if s.Tracer != nil {
		t.tracer = s.Tracer.Tracer(scope)
		t.start = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
		t.names = map[[2]string]string{}
		for _, m := range slices.Concat(methods, []string{other}) {
			for _, route := range []string{routeStore, routeItem, routeKeys, routeGet, routeApply} {
				t.names[[2]string{m, route}] = spanName(m, route)
			}
		}
	}
	if s.Meter == nil {
		return t, nil
	}
	meter := s.Meter.Meter(scope)
	var err error
	if t.duration, err = meter.Float64Histogram("http.server.request.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of HTTP requests."), metric.WithExplicitBucketBoundaries(durationBounds...)); err != nil {
		return nil, err
	}
	t.activeBy = map[string][]metric.AddOption{}
	for _, m := range slices.Concat(methods, []string{other}) {
		t.activeBy[m] = []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(
			attribute.String("http.request.method", m), attribute.String("url.scheme", t.scheme)))}
	}
	if _, err := meter.Int64ObservableCounter("plinth.server.auth.failures", metric.WithUnit("{request}"), metric.WithDescription("Requests with a wrong token."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(guard.Failures(), metric.WithAttributes(attribute.String("network.protocol.name", "http")))
			return nil
		})); err != nil {
		return nil, err
	}
	if s.Memory != nil {
		if err := observeMemory(meter, s.Memory); err != nil {
			return nil, err
		}
	}
	t.active, err = meter.Int64UpDownCounter("http.server.active_requests", metric.WithUnit("{request}"),
		metric.WithDescription("HTTP requests that are being answered."))
	return t, err
}

// observeMemory has what the budget of memory counts observed, for all listeners.
func observeMemory(meter metric.Meter, b *budget.Budget) error {
	used, err1 := meter.Int64ObservableGauge("plinth.server.memory.used", metric.WithUnit("By"), metric.WithDescription("Memory that requests and answers in flight take."))
	limit, err2 := meter.Int64ObservableGauge("plinth.server.memory.limit", metric.WithUnit("By"), metric.WithDescription("Memory that they may take."))
	refused, err3 := meter.Int64ObservableCounter("plinth.server.memory.refused", metric.WithUnit("{request}"), metric.WithDescription("Requests for which there was no memory in time."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := b.Stats()
		o.ObserveInt64(used, s.Used)
		o.ObserveInt64(limit, s.Max)
		o.ObserveInt64(refused, s.Refused+s.Abandoned)
		return nil
	}, used, limit, refused)
	return err
}

// observed returns a handler that calls next and records the outcome.
func (t *telemetry) observed(next http.HandlerFunc) http.HandlerFunc {
	if t.tracer == nil && t.duration == nil {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) {
		o := observations.Get().(*observation)
		o.ResponseWriter, o.status = w, 0
		start, method, route := time.Now(), methodOf(r.Method), routeOf(r.URL.EscapedPath())
		ctx, span := t.begin(r, method, route)
		if span != nil {
			r = r.WithContext(ctx)
		}
		if t.active != nil {
			t.active.Add(ctx, 1, t.activeBy[method]...)
		}
		defer func() { // also when the answer is cut off by a panic
			t.end(ctx, span, start, label{method, route, o.code()})
			o.ResponseWriter = nil
			observations.Put(o)
		}()
		next(o, r)
	}
}

// begin starts the span of a request, under that of the caller. Probes and the page of
// metrics have none, because their duration is of no interest.
func (t *telemetry) begin(r *http.Request, method, route string) (context.Context, trace.Span) {
	ctx := r.Context()
	name := t.names[[2]string{method, route}]
	if name == "" {
		return ctx, nil
	}
	ctx = t.propagator.Extract(ctx, propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, name, t.start...)
	if span.IsRecording() {
		host, port := hostPort(r.Host)
		span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route),
			attribute.String("url.scheme", t.scheme), attribute.String("url.path", pathWithoutKey(r.URL.EscapedPath(), route)),
			attribute.String("server.address", host), attribute.String("network.protocol.version", protocol(r)),
			attribute.String("user_agent.original", cut(r.UserAgent(), 256)))
		if port > 0 {
			span.SetAttributes(attribute.Int("server.port", port))
		}
		if method == other {
			span.SetAttributes(attribute.String("http.request.method_original", cut(r.Method, 32)))
		}
	}
	return ctx, span
}

func (t *telemetry) end(ctx context.Context, span trace.Span, start time.Time, l label) {
	if t.duration != nil {
		t.duration.Record(ctx, time.Since(start).Seconds(), t.options(l)...)
		t.active.Add(ctx, -1, t.activeBy[l.method]...)
	}
	if span == nil {
		return
	}
	if span.IsRecording() {
		span.SetAttributes(attribute.Int("http.response.status_code", l.status))
		if l.status >= 500 {
			span.SetAttributes(attribute.String("error.type", strconv.Itoa(l.status)))
			span.SetStatus(codes.Error, "")
		}
	}
	span.End()
}

// options returns the attributes of a duration, made once each.
func (t *telemetry) options(l label) []metric.RecordOption {
	if o, ok := t.sets.Load(l); ok {
		return o.([]metric.RecordOption)
	}
	set := []attribute.KeyValue{attribute.String("http.request.method", l.method), attribute.String("url.scheme", t.scheme),
		attribute.Int("http.response.status_code", l.status)}
	if l.route != "" {
		set = append(set, attribute.String("http.route", l.route))
	}
	if l.status >= 500 {
		set = append(set, attribute.String("error.type", strconv.Itoa(l.status)))
	}
	o := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(set...))}
	t.sets.Store(l, o)
	return o
}

// observation notes the status of a response.
type observation struct {
	http.ResponseWriter
	status int
}

var observations = sync.Pool{New: func() any { return new(observation) }}

// WriteHeader notes the first final status.
func (o *observation) WriteHeader(status int) {
	if o.status == 0 && status >= 200 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

// Unwrap returns the writer below, for http.ResponseController.
func (o *observation) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (o *observation) code() int {
	if o.status == 0 {
		return http.StatusOK
	}
	return o.status
}

// other stands for what is none of HTTP's methods: a caller can invent any number.
const other = "_OTHER"

var methods = []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPost, http.MethodHead, http.MethodPatch,
	http.MethodOptions, http.MethodConnect, http.MethodTrace}

func methodOf(m string) string {
	if slices.Contains(methods, m) {
		return m
	}
	return other
}

// The routes, as labels have them.
const (
	routeStore = "/v1/stores/{store}"
	routeItem  = "/v1/stores/{store}/keys/{key}"
	routeKeys  = "/v1/stores/{store}/keys"
	routeGet   = "/v1/stores/{store}/get"
	routeApply = "/v1/stores/{store}/apply"
)

// routeOf returns the route of an escaped path, one of few, or "" if it has none.
func routeOf(path string) string {
	rest, ok := strings.CutPrefix(path, "/v1/stores/")
	if !ok {
		if _, probe := probes[path]; probe || path == metricsPath {
			return path
		}
		return ""
	}
	_, rest, below := strings.Cut(rest, "/")
	switch {
	case !below:
		return routeStore
	case strings.HasPrefix(rest, "keys/"):
		return routeItem
	case rest == "keys":
		return routeKeys
	case rest == "get":
		return routeGet
	case rest == "apply":
		return routeApply
	}
	return ""
}

// spanName returns a name of low cardinality.
func spanName(method, route string) string {
	if method == other {
		method = "HTTP"
	}
	return method + " " + route
}

// pathWithoutKey returns a path without the key in it.
func pathWithoutKey(path, route string) string {
	if route != routeItem {
		return path
	}
	store, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/stores/"), "/")
	return "/v1/stores/" + store + "/keys/REDACTED"
}

func protocol(r *http.Request) string {
	if r.ProtoMajor == 1 {
		return "1." + strconv.Itoa(r.ProtoMinor)
	}
	return strconv.Itoa(r.ProtoMajor)
}

func hostPort(hostport string) (host string, port int) {
	at := strings.LastIndexByte(hostport, ':')
	if at < 0 || strings.HasSuffix(hostport, "]") {
		return cut(hostport, 256), 0
	}
	port, _ = strconv.Atoi(hostport[at+1:])
	return cut(strings.Trim(hostport[:at], "[]"), 256), port
}

func cut(s string, most int) string { return strings.ToValidUTF8(s[:min(len(s), most)], "") }
