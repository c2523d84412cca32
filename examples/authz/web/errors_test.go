package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/plinthkv/plinth/examples/authz/repository"
	"github.com/plinthkv/plinth/storage"
)

// Every error is a status and a code. Texts of failures, which may name hosts and files, do
// not leave the service.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
		shown  bool
	}{
		{storage.Errorf(storage.NotFound, "SECRET"), http.StatusNotFound, "not_found", true},
		{storage.Errorf(storage.InvalidArgument, "SECRET"), http.StatusBadRequest, "invalid_argument", true},
		{storage.Errorf(storage.AlreadyExists, "SECRET"), http.StatusConflict, "already_exists", true},
		{storage.Errorf(storage.RateLimited, "SECRET"), http.StatusTooManyRequests, "rate_limited", true},
		{storage.Errorf(storage.NoSpace, "SECRET"), http.StatusInsufficientStorage, "no_space", false},
		{storage.Errorf(storage.Unauthenticated, "SECRET"), http.StatusUnauthorized, "unauthenticated", false},
		{storage.Errorf(storage.Unavailable, "SECRET"), http.StatusServiceUnavailable, "unavailable", false},
		{storage.Errorf(storage.Internal, "SECRET"), http.StatusInternalServerError, "internal", false},
		{storage.Errorf(storage.Serialization, "SECRET"), http.StatusInternalServerError, "serialization", false},
		{&storage.Error{Code: storage.OutcomeUnknown, Unknown: true, Msg: "SECRET"}, http.StatusInternalServerError, "outcome_unknown", false},
		{&storage.Error{Code: storage.Timeout, Unknown: true, Msg: "SECRET"}, http.StatusInternalServerError, "outcome_unknown", false},
		{&storage.Error{Code: storage.Timeout, Msg: "SECRET"}, http.StatusGatewayTimeout, "timeout", false},
		{errors.New("SECRET"), http.StatusInternalServerError, "internal", false},
		{repository.ErrStale, http.StatusPreconditionFailed, "stale", false},
		{fmt.Errorf("SECRET: %w", repository.ErrSuspended), http.StatusForbidden, "suspended", false},
		{Errorf(http.StatusTeapot, "teapot", "SECRET"), http.StatusTeapot, "teapot", true},
		{fmt.Errorf("around: %w", Errorf(http.StatusTeapot, "teapot", "SECRET")), http.StatusTeapot, "teapot", true},
	} {
		status, p := describe(c.err)
		if status != c.status || p.Code != c.code || strings.Contains(p.Detail, "SECRET") != c.shown || p.Detail == "" {
			t.Errorf("%v: %d %+v, want %d %s", c.err, status, p, c.status, c.code)
		}
	}
}
