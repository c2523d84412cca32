package plinth_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/plugins/memory/module"
	"github.com/plinthkv/plinth/server"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
)

// recorded is a host over a guest that logs, and everything that is emitted.
type recorded struct {
	host  *plinth.Host
	spans *tracetest.InMemoryExporter
	p     *sdktrace.TracerProvider
	log   spanOfRecord
}

// spanOfRecord notes the span that each message was logged under.
type spanOfRecord struct {
	mu   sync.Mutex
	seen map[string]trace.SpanContext
}

func (l *spanOfRecord) Enabled(context.Context, slog.Level) bool { return true }
func (l *spanOfRecord) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *spanOfRecord) WithGroup(string) slog.Handler            { return l }
func (l *spanOfRecord) Handle(ctx context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[r.Message] = trace.SpanContextFromContext(ctx)
	return nil
}

func record(t *testing.T) *recorded {
	t.Helper()
	r := &recorded{spans: tracetest.NewInMemoryExporter(), log: spanOfRecord{seen: map[string]trace.SpanContext{}}}
	r.p = sdktrace.NewTracerProvider(sdktrace.WithSyncer(r.spans))
	wd, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	r.host, err = plinth.Open(t.Context(), filepath.Join(wd, "telemetry.yaml"), plinth.WithModule("memory", module.Wasm), plinth.WithTracerProvider(r.p), plinth.WithLogger(slog.New(&r.log)), plinth.WithContent([]byte(`
plugins: { acme: { wasm: internal/carrier/wasmhost/testdata/guests/hostile.wasm } }
stores: { cities: { backend: { plugin: acme }, pipeline: [
  { instrument: { name: outer } }, { size_limits: { key: 1KiB, value: 64KiB } }, { instrument: { name: inner } } ] } }
`)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.host.Close(context.Background()) })
	return r
}

// tree draws the spans below parent, each under that which it names as its own:
// those of one level in the order of their names.
func (r *recorded) tree(parent trace.SpanID) string {
	var lines []string
	for _, s := range r.spans.GetSpans() {
		if s.Parent.SpanID() != parent {
			continue
		}
		line := s.Name
		for _, a := range s.Attributes {
			if a.Key == "plinth.stage" || a.Key == "plinth.plugin" {
				line += " " + a.Value.AsString()
			}
		}
		if below := r.tree(s.SpanContext.SpanID()); below != "" {
			line += "(" + below + ")"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// find is the one span of a name.
func (r *recorded) find(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	var found []tracetest.SpanStub
	for _, s := range r.spans.GetSpans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are called %s", len(found), name)
	}
	return found[0]
}

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
)

// A request's trace is one tree, from the caller's own span into the guest: what
// the guest logs is found under the span of its call.
func TestTraceOfARequest(t *testing.T) {
	r := record(t)
	srv, err := server.New(server.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, server.Settings{
		Stores: map[string]*storage.Store{"cities": storeOf(t, r.host, "cities").Store}, Tracer: r.p})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv.Handler())
	defer web.Close()
	for _, c := range []struct{ method, path, want string }{
		{http.MethodGet, "keys/!call:say", "GET /v1/stores/{store}/keys/{key}(get cities outer(get cities inner(plinth.wasm get acme)))"},
		{http.MethodPut, "keys/secret", "PUT /v1/stores/{store}/keys/{key}(set cities outer(set cities inner(plinth.wasm apply acme)))"},
		{http.MethodGet, "keys?prefix=secret", "GET /v1/stores/{store}/keys(scan cities outer(scan cities inner(plinth.wasm scan acme)))"},
		{http.MethodDelete, "keys/secret", "DELETE /v1/stores/{store}/keys/{key}(delete cities outer(delete cities inner(plinth.wasm apply acme)))"},
	} {
		r.spans.Reset()
		req, err := http.NewRequestWithContext(t.Context(), c.method, web.URL+"/v1/stores/cities/"+c.path, strings.NewReader("a value"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("traceparent", "00-"+callersTrace+"-"+callersSpan+"-01")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body) // its end is after that of the span
		res.Body.Close()
		parent, _ := trace.SpanIDFromHex(callersSpan)
		if got := r.tree(parent); got != c.want {
			t.Errorf("%s %s:\n%s\nwant\n%s", c.method, c.path, got, c.want)
		}
		for _, s := range r.spans.GetSpans() {
			if s.SpanContext.TraceID().String() != callersTrace {
				t.Errorf("%s is of another trace", s.Name)
			}
			if text := fmt.Sprint(s.Name, s.Attributes, s.Events, s.Status); strings.Contains(text, "keys/secret") || strings.Contains(text, "a value") {
				t.Errorf("%s tells what it must not: %s", s.Name, text)
			}
		}
		if c.path == "keys/!call:say" && r.log.seen["compacted"].SpanID() != r.find(t, "plinth.wasm get").SpanContext.SpanID() {
			t.Errorf("the guest's record is under %v", r.log.seen["compacted"])
		}
	}
}

// overGRPC serves a store of the host on loopback, and dials it. After end, the
// server too has ended its spans.
func (r *recorded) overGRPC(t *testing.T, store string) (_ *client.Client, end func()) {
	t.Helper()
	srv, err := grpcserver.New(grpcserver.Config{Listener: server.Listener{Address: "127.0.0.1:0"}}, grpcserver.Settings{
		Stores: map[string]*storage.Store{store: storeOf(t, r.host, store).Store}, Tracer: r.p, Log: slog.New(slog.DiscardHandler)})
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
	c, err := client.Dial(t.Context(), client.Config{Address: l.Addr().String(), Store: store}, client.Settings{Tracer: r.p, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		c.Close(context.Background())
		stop()
		<-ended
	})
	t.Cleanup(end)
	return c, end
}

// From one process into another the tree does not break either: the server's
// spans are under the client's.
func TestTraceOverGRPC(t *testing.T) {
	r := record(t)
	c, end := r.overGRPC(t, "cities")
	s := storage.New(c, storage.Settings{})
	r.spans.Reset()
	ctx, own := r.p.Tracer("service").Start(t.Context(), "handle order")
	if err := s.Set(ctx, []byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, []byte("k")); err != nil {
		t.Fatal(err)
	}
	own.End()
	end()
	const service = "plinth.backend.v1.Backend/"
	const want = service + "Apply(" + service + "Apply(set cities outer(set cities inner(plinth.wasm apply acme)))), " +
		service + "Get(" + service + "Get(get cities outer(get cities inner(plinth.wasm get acme))))"
	if got := r.tree(own.SpanContext().SpanID()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// The same for who embeds the host, without a server: the tree hangs under the
// embedder's own span, and there is nothing where there is none.
func TestTraceOfAnEmbedder(t *testing.T) {
	r := record(t)
	s := storeOf(t, r.host, "cities")
	ctx, own := r.p.Tracer("service").Start(t.Context(), "handle order")
	if err := s.Set(ctx, []byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	err := s.Update(ctx, func(tx *storage.Txn) error {
		if _, err := tx.Get(ctx, []byte("k")); err != nil {
			return err
		}
		if err := tx.Set(ctx, []byte("k"), []byte("w")); err != nil {
			return err
		}
		return tx.Set(ctx, []byte("l"), []byte("x"))
	})
	if err != nil {
		t.Fatal(err)
	}
	own.End()
	const want = "commit cities outer(commit cities inner(plinth.wasm apply acme)), " +
		"get cities outer(get cities inner(plinth.wasm get acme)), " +
		"set cities outer(set cities inner(plinth.wasm apply acme))"
	if got := r.tree(own.SpanContext().SpanID()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	r.spans.Reset()
	if _, err := s.Get(context.Background(), []byte("k")); err != nil {
		t.Fatal(err)
	}
	if n := len(r.spans.GetSpans()); n != 0 {
		t.Errorf("%d spans for a caller who has none", n)
	}
}

// The built-in pipeline with everything measured costs a call that nobody samples
// no allocation: a hit allocates its value, a miss what the answer takes.
func TestTelemetryDoesNotAllocate(t *testing.T) {
	key := []byte("k")
	allocations := func(opts ...plinth.Option) (hit, absent float64) {
		h, err := plinth.Open(t.Context(), "", append(opts, plinth.WithModule("memory", module.Wasm), plinth.WithCacheDir(compiled(t)), plinth.WithLogger(slog.New(slog.DiscardHandler)))...)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(context.Background())
		s := storeOf(t, h, "default")
		if err := s.Set(t.Context(), key, []byte("value")); err != nil {
			t.Fatal(err)
		}
		ctx, _ := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("").Start(t.Context(), "caller")
		hit = testing.AllocsPerRun(1000, func() { s.Get(ctx, key) })
		absent = testing.AllocsPerRun(1000, func() { s.Get(ctx, []byte("absent")) })
		return hit, absent
	}
	hit, absent := allocations()
	measuredHit, measuredAbsent := allocations(plinth.WithTracerProvider(sdktrace.NewTracerProvider()),
		plinth.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))))
	if measuredHit > hit || measuredAbsent > absent || hit > 2 {
		t.Errorf("a hit allocates %.0f, and %.0f without telemetry; what is absent %.0f, and %.0f", measuredHit, hit, measuredAbsent, absent)
	}
}
