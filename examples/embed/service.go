package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/otel/snapshot"
	"github.com/plinthkv/plinth/storage"
)

// configuration declares the service's stores. It could as well be a file.
const configuration = `
stores:
  links:
    backend: { plugin: memory, config: { max_bytes: 64MiB } }
    require: [atomic]
    pipeline:
      - instrument
      - size_limits: { key: 256B, value: 2KiB }
      - cache
  reserved:
    backend: { plugin: reserved }
    pipeline: [instrument, read_only]
`

// service answers requests for short links.
type service struct {
	host     *plinth.Host
	links    *plinth.Store
	reserved *plinth.Store // over the service's own backend
	tracer   trace.Tracer
	stats    *snapshot.Reader
}

// newService opens the store. Its spans go where the service's own go.
func newService(ctx context.Context, tracer trace.TracerProvider, more ...plinth.Option) (*service, error) {
	stats := snapshot.New() // numbers to show, without an exporter
	var meter metric.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(stats))
	options := append([]plinth.Option{plinth.WithContent([]byte(configuration)),
		plinth.WithBackend("reserved", openReserved), plinth.WithTracerProvider(tracer), plinth.WithMeterProvider(meter)}, more...)
	host, err := plinth.Open(ctx, "links.yaml", options...)
	if err != nil {
		return nil, err
	}
	s := &service{host: host, tracer: tracer.Tracer("example/links"), stats: stats}
	for name, store := range map[string]**plinth.Store{"links": &s.links, "reserved": &s.reserved} {
		if *store, err = host.Store(name); err != nil {
			return nil, errors.Join(err, host.Close(ctx))
		}
	}
	return s, nil
}

func (s *service) close(ctx context.Context) error { return s.host.Close(ctx) }

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /links/{name}", s.traced(s.follow))
	mux.HandleFunc("PUT /links/{name}", s.traced(s.create))
	mux.HandleFunc("GET /stats", s.showStats)
	return mux
}

// traced gives a request its span, under that of whoever sent it.
func (s *service) traced(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := s.tracer.Start(ctx, r.Pattern, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next(w, r.WithContext(ctx))
	}
}

func (s *service) follow(w http.ResponseWriter, r *http.Request) {
	url, err := s.links.Get(r.Context(), []byte(r.PathValue("name")))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		http.NotFound(w, r)
	case err != nil:
		http.Error(w, "the link cannot be read", http.StatusServiceUnavailable)
	default:
		http.Redirect(w, r, string(url), http.StatusFound)
	}
}

// create makes a link that there is not yet.
func (s *service) create(w http.ResponseWriter, r *http.Request) {
	url, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2<<10))
	if err != nil {
		http.Error(w, "the link is too long", http.StatusRequestEntityTooLarge)
		return
	}
	name := []byte(r.PathValue("name"))
	switch why, err := s.reserved.Get(r.Context(), name); {
	case err == nil:
		http.Error(w, "the name is reserved: it "+string(why), http.StatusForbidden)
		return
	case !errors.Is(err, storage.ErrNotFound):
		http.Error(w, "the name cannot be looked up", http.StatusServiceUnavailable)
		return
	}
	_, err = s.links.Put(r.Context(), name, url, storage.IfAbsent())
	switch {
	case errors.Is(err, storage.ErrConflict):
		http.Error(w, "the name is taken", http.StatusConflict)
	case err != nil:
		http.Error(w, "the link cannot be kept", http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

// showStats returns how often each operation was called, and how long 99 % of
// these calls took at most.
func (s *service) showStats(w http.ResponseWriter, r *http.Request) {
	now, err := s.stats.Snapshot(r.Context())
	if err != nil {
		http.Error(w, "there are no numbers", http.StatusInternalServerError)
		return
	}
	out := map[string]map[string]any{}
	if stage := now.Stage("links", "instrument"); stage != nil {
		for _, o := range stage.Operations {
			out[o.Name] = map[string]any{"count": o.Count, "not_found": o.NotFound, "conflicts": o.Conflicts, "errors": o.Errors, "p99": o.P99.String()}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}
