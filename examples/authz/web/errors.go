package web

import (
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/plinthkv/plinth/examples/authz/repository"
	"github.com/plinthkv/plinth/storage"
)

// Error gives an error a status of its own.
type Error struct {
	Status int
	Code   string // for programs
	Err    error  // for people
}

// Error returns the text of Err.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error that has a status.
func Errorf(status int, code, text string) *Error {
	return &Error{status, code, errors.New(text)}
}

// statuses maps storage's codes to statuses. Any other code is an internal error.
var statuses = map[storage.Code]int{
	storage.NotFound:         http.StatusNotFound,
	storage.AlreadyExists:    http.StatusConflict,
	storage.Conflict:         http.StatusConflict,
	storage.InvalidArgument:  http.StatusBadRequest,
	storage.SizeLimit:        http.StatusRequestEntityTooLarge,
	storage.RangeLimit:       http.StatusRequestEntityTooLarge,
	storage.RateLimited:      http.StatusTooManyRequests,
	storage.Unauthenticated:  http.StatusUnauthorized,
	storage.PermissionDenied: http.StatusForbidden,
	storage.NoSpace:          http.StatusInsufficientStorage,
	storage.Timeout:          http.StatusGatewayTimeout,
	storage.RetriesExhausted: http.StatusServiceUnavailable, // other writers were faster: again later
	storage.Unavailable:      http.StatusServiceUnavailable,
	storage.CircuitOpen:      http.StatusServiceUnavailable,
	storage.ShuttingDown:     http.StatusServiceUnavailable,
}

// states are the errors of repositories.
var states = []struct {
	err    error
	status int
	code   string
}{
	{repository.ErrStale, http.StatusPreconditionFailed, "stale"},
	{repository.ErrPrecondition, http.StatusPreconditionFailed, "precondition"},
	{repository.ErrSuspended, http.StatusForbidden, "suspended"},
	{repository.ErrNotEmpty, http.StatusConflict, "not_empty"},
	{repository.ErrQuota, http.StatusConflict, "quota"},
}

// problem is the body of an error.
type problem struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// describe returns the status and body of an error. Callers do not see why a token is refused
// and why a request failed: that is for the log.
func describe(err error) (int, problem) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status, problem{e.Code, e.Error()}
	}
	for _, s := range states {
		if errors.Is(err, s.err) {
			return s.status, problem{s.code, s.err.Error()}
		}
	}
	code := storage.CodeOf(err)
	if storage.Unknown(err) { // a caller has to look whether it was done
		code = storage.OutcomeUnknown
	}
	status, ok := statuses[code]
	switch {
	case !ok:
		return http.StatusInternalServerError, problem{code.Name(), code.Error()}
	case status == http.StatusUnauthorized || status >= 500:
		return status, problem{code.Name(), code.Error()}
	}
	return status, problem{code.Name(), err.Error()}
}

// fail writes an error.
func fail(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) int {
	status, body := describe(err)
	switch {
	case status >= 500:
		log.ErrorContext(r.Context(), "request failed", "method", r.Method, "status", status, "error", err)
	case status == http.StatusUnauthorized:
		log.InfoContext(r.Context(), "request refused", "method", r.Method, "error", err)
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		var after time.Duration
		if e := storage.AsError(err); e != nil {
			after = e.RetryAfter
		}
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(after.Seconds())))))
	}
	write(w, status, body)
	return status
}
