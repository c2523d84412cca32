package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/storage"
)

// What a caller may choose, at most.
const (
	MaxBody  = 256 << 10 // bytes of a request
	MaxPage  = 100       // entries of a list
	maxQuery = 4 << 10   // bytes of a path and query
)

// Settings configures a [Router].
type Settings struct {
	Tracer  trace.TracerProvider
	Log     *slog.Logger
	Timeout time.Duration // of a request
	Flying  int           // requests at once; those beyond are refused, not queued
}

// Router hands requests to handlers. It is safe for concurrent use.
type Router struct {
	mux    http.ServeMux
	s      Settings
	tracer trace.Tracer
	flying chan struct{}
}

// NewRouter returns a router without handlers.
func NewRouter(s Settings) *Router {
	return &Router{s: s, tracer: s.Tracer.Tracer("example/authz"), flying: make(chan struct{}, s.Flying)}
}

// Handler handles a request. It returns the body, which is written as JSON, or nil for none,
// or an error.
type Handler func(w http.ResponseWriter, r *http.Request) (body any, err error)

// Handle registers the handler of a pattern, such as "GET /vaults/{vault}". Each request is a
// span under that of its sender, within the timeout.
func (rt *Router) Handle(pattern string, h Handler) {
	rt.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := rt.tracer.Start(ctx, pattern, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		ctx, cancel := context.WithTimeout(ctx, rt.s.Timeout)
		defer cancel()
		status := rt.serve(w, r.WithContext(ctx), h)
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= 500 {
			span.SetStatus(codes.Error, http.StatusText(status))
		}
	})
}

func (rt *Router) serve(w http.ResponseWriter, r *http.Request, h Handler) (status int) {
	r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
	body, err := h(w, r)
	if err != nil {
		return fail(w, r, rt.s.Log, err)
	}
	status = http.StatusOK
	switch {
	case body == nil:
		status = http.StatusNoContent
		w.WriteHeader(status)
		return status
	case r.Method == http.MethodPost && w.Header().Get("Location") != "":
		status = http.StatusCreated
	}
	write(w, status, body)
	return status
}

// ServeHTTP refuses what is too much before anything is done for it.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case rt.flying <- struct{}{}:
		defer func() { <-rt.flying }()
	default:
		fail(w, r, rt.s.Log, storage.Errorf(storage.Unavailable, "%d requests are under way", cap(rt.flying)))
		return
	}
	if len(r.URL.Path)+len(r.URL.RawQuery) > maxQuery {
		fail(w, r, rt.s.Log, Errorf(http.StatusRequestURITooLong, "uri_too_long", "the path and query exceed "+strconv.Itoa(maxQuery)+" bytes"))
		return
	}
	rt.mux.ServeHTTP(w, r)
}

func write(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"code":"internal","detail":"the answer cannot be written"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(raw, '\n')) // a caller who has gone needs no answer
}

// Read decodes the body of a request into v: one JSON object, without unknown and duplicate
// names.
func Read(r *http.Request, v any) error {
	raw, err := io.ReadAll(r.Body)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return storage.LimitError(storage.SizeLimit, "request body", MaxBody, r.ContentLength)
	}
	if err != nil {
		return Errorf(http.StatusBadRequest, "invalid_argument", "the body ended early")
	}
	if err := json.Unmarshal(raw, v, json.RejectUnknownMembers(true)); err != nil {
		return Errorf(http.StatusBadRequest, "invalid_argument", fault(raw, err))
	}
	return nil
}

func clip(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Page returns what a list is asked for: how many entries, 100 by default and at most, and
// where to go on.
func Page(r *http.Request) (after string, limit int, err error) {
	q := r.URL.Query()
	limit = MaxPage
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > MaxPage {
			return "", 0, storage.Errorf(storage.InvalidArgument, "limit %.20q: must be 1 to %d", text, MaxPage)
		}
	}
	return q.Get("after"), limit, nil
}

// SetETag sends the version of a record.
func SetETag(w http.ResponseWriter, version uint64) {
	w.Header().Set("ETag", `"`+strconv.FormatUint(version, 10)+`"`)
}

// IfMatch returns the version that a change is conditional on. It is required: a change that
// names none could undo another.
func IfMatch(r *http.Request) (uint64, error) {
	text := r.Header.Get("If-Match")
	if text == "" {
		return 0, Errorf(http.StatusPreconditionRequired, "if_match_required", "send If-Match with the ETag of what you have read")
	}
	number, quoted := strings.CutPrefix(strings.TrimSuffix(text, `"`), `"`)
	version, err := strconv.ParseUint(number, 10, 64)
	if !quoted || err != nil || version == 0 {
		return 0, storage.Errorf(storage.InvalidArgument, "If-Match %.40q: must be one ETag", text)
	}
	return version, nil
}
