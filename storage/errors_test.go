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
	storage.VersionGone: storage.ErrVersionGone,
}

// Codes and names are on the wire and in protocols: neither may ever change.
func TestCodes(t *testing.T) {
	names := []string{"ok", "not_found", "conflict", "unavailable", "serialization", "internal", "timeout", "retries_exhausted", "circuit_open",
		"size_limit", "range_limit", "rate_limited", "shutting_down", "outcome_unknown", "unsupported", "invalid_argument", "already_exists",
		"permission_denied", "no_space", "txn_done", "canceled", "unauthenticated", "version_gone"}
	for i, name := range names {
		if c := storage.Code(i); c.Name() != name || !c.Known() {
			t.Errorf("code %d is called %q, known %t; want %q", i, c.Name(), c.Known(), name)
		}
	}
	beyond := storage.Code(len(names))
	if beyond.Known() || beyond.Name() != fmt.Sprintf("code_%d", len(names)) {
		t.Errorf("there is a code %s that this test does not know", beyond.Name())
	}
	for code, sentinel := range sentinels {
		wrapped := fmt.Errorf("while testing: %w", &storage.Error{Code: code, Msg: "something else"})
		for other, another := range sentinels {
			if errors.Is(wrapped, another) != (code == other) {
				t.Errorf("%s is %s: %t", code.Name(), other.Name(), code != other)
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

// A sentinel is the same for everyone: whoever adds to what AsError makes of it has an
// error of their own.
func TestSentinelsCannotBeChanged(t *testing.T) {
	for code, sentinel := range sentinels {
		text := sentinel.Error()
		e := storage.AsError(sentinel)
		if e.Code != code || e.Error() != text || e.Unknown != (code == storage.OutcomeUnknown) {
			t.Errorf("%s is %+v, which reads %q, want %q", code.Name(), e, e, text)
		}
		e.Op, e.Msg, e.Code = "mine", "mine alone", storage.Internal
		if now := storage.AsError(sentinel); sentinel.Error() != text || now.Op != "" || now.Code != code {
			t.Errorf("%s has become %+v", code.Name(), now)
		}
	}
}

// What a sentinel was wrapped in is still said once it is an *Error.
func TestWrappedSentinel(t *testing.T) {
	e := storage.AsError(fmt.Errorf("shelf 7: %w", storage.ErrOutcomeUnknown))
	if e.Code != storage.OutcomeUnknown || !e.Unknown || !strings.HasPrefix(e.Error(), "shelf 7: ") || !errors.Is(e, storage.ErrOutcomeUnknown) {
		t.Errorf("%+v reads %q", e, e)
	}
}

func TestUnknown(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {io.EOF, false}, {storage.ErrNotFound, false}, {storage.ErrOutcomeUnknown, true}, {context.Canceled, false},
		{&storage.Error{Code: storage.Timeout}, false}, {&storage.Error{Code: storage.Timeout, Unknown: true}, true},
		{fmt.Errorf("x: %w", &storage.Error{Code: storage.Timeout, Unknown: true}), true}, {fmt.Errorf("x: %w", storage.ErrOutcomeUnknown), true},
	} {
		if storage.Unknown(c.err) != c.want {
			t.Errorf("%v: %t", c.err, !c.want)
		}
	}
}

// Reads of absent keys are of every day: neither the sentinel nor a look at it allocates.
func TestSentinelsDoNotAllocate(t *testing.T) {
	s, _ := newModel(t)
	key := []byte("absent")
	allocs := testing.AllocsPerRun(100, func() {
		_, err := s.Get(context.Background(), key)
		if !errors.Is(err, storage.ErrNotFound) || storage.CodeOf(err) != storage.NotFound || storage.Unknown(err) {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
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
	both := storage.Errorf(storage.Internal, "first %w, then %w", io.EOF, &storage.BatchError{First: 7, Err: io.ErrClosedPipe})
	if batch := (*storage.BatchError)(nil); !errors.Is(both, io.EOF) || !errors.Is(both, io.ErrClosedPipe) || !errors.As(both, &batch) || batch.First != 7 {
		t.Errorf("two causes: %+v", both)
	}
	if both.Error() != "first EOF, then ops 7 to 0: io: read/write on closed pipe" {
		t.Errorf("two causes read %q", both)
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
