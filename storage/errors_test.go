package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err  *storage.Error
		want string
	}{
		{&storage.Error{Code: storage.NotFound}, "not found"},
		{&storage.Error{Code: storage.Unavailable, Layer: "plugin acme", Op: "get"}, "plugin acme: get: backend unavailable"},
		{&storage.Error{Code: storage.Internal, Msg: "the disk is gone", Err: io.EOF}, "the disk is gone"},
		{storage.AsError(io.EOF), "EOF"},
		{storage.LimitError(storage.SizeLimit, "key", 10, 11), "key is 11, limit is 10"},
		{&storage.Error{Code: storage.RateLimited, RetryAfter: 2 * time.Second}, "retry after 2s"},
		{&storage.Error{Code: storage.InvalidArgument, Msg: "too small", ConfigPath: "max_bytes"}, "too small (configuration: max_bytes)"},
		{&storage.Error{Code: storage.Timeout, Unknown: true}, "the write may have been applied"},
		{&storage.Error{Code: 200}, "error"},
	} {
		if text := c.err.Error(); !strings.Contains(text, c.want) {
			t.Errorf("%+v reads %q, want %q in it", *c.err, text, c.want)
		}
	}
	if text := (&storage.Error{Code: storage.OutcomeUnknown, Unknown: true}).Error(); strings.Count(text, "applied") > 1 {
		t.Errorf("an unknown outcome is said twice: %q", text)
	}
}

// sentinels are all of them, by code.
var sentinels = map[storage.Code]error{
	storage.NotFound: storage.ErrNotFound, storage.Conflict: storage.ErrConflict, storage.Unavailable: storage.ErrUnavailable,
	storage.Serialization: storage.ErrSerialization, storage.Internal: storage.ErrInternal, storage.Timeout: storage.ErrTimeout,
	storage.RetriesExhausted: storage.ErrRetriesExhausted, storage.CircuitOpen: storage.ErrCircuitOpen, storage.SizeLimit: storage.ErrSizeLimit,
	storage.RangeLimit: storage.ErrRangeLimit, storage.RateLimited: storage.ErrRateLimited, storage.ShuttingDown: storage.ErrShuttingDown,
	storage.OutcomeUnknown: storage.ErrOutcomeUnknown, storage.Unsupported: storage.ErrUnsupported, storage.InvalidArgument: storage.ErrInvalidArgument,
	storage.AlreadyExists: storage.ErrAlreadyExists, storage.PermissionDenied: storage.ErrPermissionDenied, storage.NoSpace: storage.ErrNoSpace,
	storage.TxnDone: storage.ErrTxnDone, storage.Canceled: storage.ErrCanceled, storage.Unauthenticated: storage.ErrUnauthenticated,
}

// Codes and names are on the wire and in protocols: neither may ever change.
func TestCodes(t *testing.T) {
	names := []string{"ok", "not_found", "conflict", "unavailable", "serialization", "internal", "timeout", "retries_exhausted", "circuit_open",
		"size_limit", "range_limit", "rate_limited", "shutting_down", "outcome_unknown", "unsupported", "invalid_argument", "already_exists",
		"permission_denied", "no_space", "txn_done", "canceled", "unauthenticated"}
	for i, name := range names {
		if c := storage.Code(i); c.String() != name || !c.Known() {
			t.Errorf("code %d is called %q, known %t; want %q", i, c, c.Known(), name)
		}
	}
	beyond := storage.Code(len(names))
	if beyond.Known() || beyond.String() != fmt.Sprintf("code_%d", len(names)) {
		t.Errorf("there is a code %s that this test does not know", beyond)
	}
	for code, sentinel := range sentinels {
		wrapped := fmt.Errorf("while testing: %w", &storage.Error{Code: code, Msg: "something else"})
		for other, another := range sentinels {
			if errors.Is(wrapped, another) != (code == other) {
				t.Errorf("%s is %s: %t", code, other, code != other)
			}
		}
		if storage.CodeOf(sentinel) != code || storage.CodeOf(wrapped) != code {
			t.Errorf("the code of %v is %s", sentinel, storage.CodeOf(sentinel))
		}
	}
	if len(sentinels) != len(names)-1 {
		t.Errorf("%d sentinels for %d codes", len(sentinels), len(names)-1)
	}
}

// Retryable, unknown and retry-after are three things.
func TestRetryable(t *testing.T) {
	retryable := map[storage.Code]bool{storage.Unavailable: true, storage.Timeout: true, storage.RateLimited: true}
	for code := range sentinels {
		if got := (&storage.Error{Code: code}).Retryable(); got != retryable[code] {
			t.Errorf("%s is retryable: %t", code, got)
		}
		if (&storage.Error{Code: code, Unknown: true}).Retryable() {
			t.Errorf("%s, perhaps applied, is retryable", code)
		}
	}
}

func TestAsError(t *testing.T) {
	own := &storage.Error{Code: storage.NoSpace}
	for _, c := range []struct {
		err  error
		want storage.Code
	}{
		{own, storage.NoSpace}, {fmt.Errorf("x: %w", own), storage.NoSpace}, {errors.Join(io.EOF, own), storage.NoSpace},
		{context.Canceled, storage.Canceled}, {fmt.Errorf("x: %w", context.DeadlineExceeded), storage.Timeout}, {io.EOF, storage.Internal},
	} {
		e := storage.AsError(c.err)
		if e.Code != c.want || storage.CodeOf(c.err) != c.want {
			t.Errorf("%v is %s, want %s", c.err, e.Code, c.want)
		}
		if e.Code == storage.Internal && !errors.Is(e, io.EOF) {
			t.Errorf("the cause of %v is gone", e)
		}
	}
	if storage.AsError(nil) != nil || storage.CodeOf(nil) != storage.OK {
		t.Error("nil is an error")
	}
}

func TestContextError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if err := storage.ContextError(ctx); err != nil {
		t.Errorf("while it lives: %v", err)
	}
	cancel()
	if err := storage.ContextError(ctx); storage.CodeOf(err) != storage.Canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancel()
	if err := storage.ContextError(late); storage.CodeOf(err) != storage.Timeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("too late: %v", err)
	}
}

func TestErrorConstructors(t *testing.T) {
	if e := storage.Errorf(storage.OutcomeUnknown, "reading: %w", io.EOF); !e.Unknown || !errors.Is(e, io.EOF) || e.Error() != "reading: EOF" {
		t.Errorf("Errorf: %+v", e)
	}
	if e := storage.Errorf(storage.Internal, "plain"); e.Unknown || e.Unwrap() != nil {
		t.Errorf("Errorf: %+v", e)
	}
	if e := storage.ConflictAt(0); e.Code != storage.Conflict || e.FailedCheck() != 0 {
		t.Errorf("ConflictAt: %+v", e)
	}
	if e := (&storage.Error{Code: storage.Conflict}); e.FailedCheck() != -1 {
		t.Errorf("an error that names no check names %d", e.FailedCheck())
	}
}
