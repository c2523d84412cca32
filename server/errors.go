package server

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"github.com/plinthkv/plinth/storage"
)

// webError describes an error that only HTTP knows.
type webError struct {
	status int
	code   string
	text   string
}

func (e *webError) Error() string { return e.text }

func httpError(status int, code, text string) error { return &webError{status, code, text} }

func badRequest(format string, args ...any) error {
	return storage.Errorf(storage.InvalidArgument, format, args...)
}

// statuses maps each code to the answer's status. Every 503 means that nothing was applied:
// proxies repeat those.
var statuses = map[storage.Code]int{
	storage.NotFound:         http.StatusNotFound,
	storage.Conflict:         http.StatusPreconditionFailed,
	storage.RetriesExhausted: http.StatusPreconditionFailed,
	storage.Unavailable:      http.StatusServiceUnavailable,
	storage.CircuitOpen:      http.StatusServiceUnavailable,
	storage.ShuttingDown:     http.StatusServiceUnavailable,
	storage.Serialization:    http.StatusInternalServerError,
	storage.Internal:         http.StatusInternalServerError,
	storage.OutcomeUnknown:   http.StatusInternalServerError,
	storage.Timeout:          http.StatusGatewayTimeout,
	storage.SizeLimit:        http.StatusRequestEntityTooLarge,
	storage.RangeLimit:       http.StatusRequestEntityTooLarge,
	storage.RateLimited:      http.StatusTooManyRequests,
	storage.Unsupported:      http.StatusNotImplemented,
	storage.InvalidArgument:  http.StatusBadRequest,
	storage.AlreadyExists:    http.StatusConflict,
	storage.PermissionDenied: http.StatusForbidden,
	storage.NoSpace:          http.StatusInsufficientStorage,
	storage.TxnDone:          http.StatusInternalServerError,
	storage.Canceled:         http.StatusServiceUnavailable,
	storage.Unauthenticated:  http.StatusUnauthorized,
	storage.VersionGone:      http.StatusGone,
}

// problem is an application/problem+json.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
	Check  *int   `json:"check,omitempty"`
	Limit  *limit `json:"limit,omitempty"`
}

type limit struct {
	Kind   string `json:"kind"`
	Max    int64  `json:"max"`
	Actual int64  `json:"actual"`
}

// fail writes err as the answer, unless the caller has gone or the answer has begun:
// then the connection ends, so that what was sent cannot be taken for the whole.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errAborted) || r.Context().Err() != nil {
		s.settings.Log.DebugContext(r.Context(), "request ended early", "method", r.Method, "error", err)
		panic(http.ErrAbortHandler)
	}
	p := problemOf(err)
	if p.Status >= 500 {
		s.failures.Failed(r.Context(), err, "request failed", slog.String("method", r.Method), slog.Int("status", p.Status))
	}
	if e := storage.AsError(err); e.RetryAfter > 0 && (p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests) {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	h := w.Header()
	for _, name := range []string{"Etag", "Plinth-Expires-At", versionHeader, "Content-Length"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(p) // the caller may be gone: nothing to do about it
	}
}

func problemOf(err error) problem {
	var web *webError
	if errors.As(err, &web) {
		return problem{Title: http.StatusText(web.status), Status: web.status, Detail: web.text, Code: web.code}
	}
	e := storage.AsError(err)
	code := e.Code
	if e.Unknown {
		code = storage.OutcomeUnknown
	}
	status, ok := statuses[code]
	if !ok {
		status = http.StatusInternalServerError
	}
	p := problem{Title: http.StatusText(status), Status: status, Detail: e.Error(), Code: code.Name()}
	if code == storage.Conflict && e.FailedCheck() >= 0 {
		check := e.FailedCheck()
		p.Check = &check
	}
	if e.Limit.Kind != "" {
		p.Limit = &limit{e.Limit.Kind, e.Limit.Max, e.Limit.Actual}
	}
	return p
}

// errAborted is an error after the answer has begun.
var errAborted = errors.New("answer cut short")

// bodyError returns why reading a body failed: too large, too slow, or cut short.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return storage.LimitError(storage.SizeLimit, "body", tooLarge.Limit, tooLarge.Limit+1)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest("the body ended early; nothing was applied")
	}
	return badRequest("the body could not be read; nothing was applied: %v", err)
}
