package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code is the kind of an error. Its numbers are the same in every carrier and
// protocol, and are only ever added to.
type Code uint8

// The codes. All but OutcomeUnknown mean that nothing was written, unless
// Error.Unknown says otherwise.
const (
	OK               Code = 0
	NotFound         Code = 1  // the key is absent or expired
	Conflict         Code = 2  // a check failed
	Unavailable      Code = 3  // the backend cannot be reached or is restarting
	Serialization    Code = 4  // a value could not be encoded or decoded
	Internal         Code = 5  // a fault of the backend
	Timeout          Code = 6  // the deadline passed first
	RetriesExhausted Code = 7  // every attempt ended in Conflict
	CircuitOpen      Code = 8  // refused by a circuit breaker
	SizeLimit        Code = 9  // something is larger than its limit
	RangeLimit       Code = 10 // an answer would be larger than its limit
	RateLimited      Code = 11 // refused by a rate limiter
	ShuttingDown     Code = 12 // closed, or closing
	OutcomeUnknown   Code = 13 // it may have been applied
	Unsupported      Code = 14 // this backend cannot do it
	InvalidArgument  Code = 15 // the request makes no sense
	AlreadyExists    Code = 16
	PermissionDenied Code = 17
	NoSpace          Code = 18 // the backend's space is used up
	TxnDone          Code = 19 // the transaction is over
	Canceled         Code = 20 // the caller left before anything was done
	Unauthenticated  Code = 21

	codesEnd = Unauthenticated + 1
)

var codeNames = [...]string{"ok", "not_found", "conflict", "unavailable", "serialization", "internal", "timeout",
	"retries_exhausted", "circuit_open", "size_limit", "range_limit", "rate_limited", "shutting_down", "outcome_unknown",
	"unsupported", "invalid_argument", "already_exists", "permission_denied", "no_space", "txn_done", "canceled",
	"unauthenticated"}

// String is the code's name in snake_case, as protocols show it.
func (c Code) String() string {
	if c < codesEnd {
		return codeNames[c]
	}
	return fmt.Sprintf("code_%d", uint8(c))
}

// Known tells whether this version knows the code. Error treats others as Internal.
func (c Code) Known() bool { return c < codesEnd }

// Sentinels for errors.Is, which compares codes.
var (
	ErrNotFound         error = &Error{Code: NotFound}
	ErrConflict         error = &Error{Code: Conflict}
	ErrUnavailable      error = &Error{Code: Unavailable}
	ErrSerialization    error = &Error{Code: Serialization}
	ErrInternal         error = &Error{Code: Internal}
	ErrTimeout          error = &Error{Code: Timeout}
	ErrRetriesExhausted error = &Error{Code: RetriesExhausted}
	ErrCircuitOpen      error = &Error{Code: CircuitOpen}
	ErrSizeLimit        error = &Error{Code: SizeLimit}
	ErrRangeLimit       error = &Error{Code: RangeLimit}
	ErrRateLimited      error = &Error{Code: RateLimited}
	ErrShuttingDown     error = &Error{Code: ShuttingDown}
	ErrOutcomeUnknown   error = &Error{Code: OutcomeUnknown}
	ErrUnsupported      error = &Error{Code: Unsupported}
	ErrInvalidArgument  error = &Error{Code: InvalidArgument}
	ErrAlreadyExists    error = &Error{Code: AlreadyExists}
	ErrPermissionDenied error = &Error{Code: PermissionDenied}
	ErrNoSpace          error = &Error{Code: NoSpace}
	ErrTxnDone          error = &Error{Code: TxnDone}
	ErrCanceled         error = &Error{Code: Canceled}
	ErrUnauthenticated  error = &Error{Code: Unauthenticated}
)

// Error is every error of a storage call. Its text never holds a value or a
// whole key.
type Error struct {
	Code  Code
	Op    string // what was tried: "get", "apply"; empty: not said
	Layer string // who says so: a backend's or wrapper's name; empty: not said
	Msg   string // for people; empty: the code says it all
	// RetryAfter is how long to wait before trying again; 0: not said.
	RetryAfter time.Duration
	// Unknown says that the write may have been applied all the same. It is
	// always set with OutcomeUnknown.
	Unknown bool
	// Check is 1 + the index in WriteSet.Checks of the first check that failed;
	// 0: none is named. See [Error.FailedCheck].
	Check int
	// Limit is the limit that was hit; its zero value: none.
	Limit Limit
	// ConfigPath is the place in a plugin's or wrapper's configuration that the
	// error is about, such as "max_bytes"; empty: none.
	ConfigPath string
	Err        error // the cause; nil: none
}

// Limit is a limit that was hit.
type Limit struct {
	Kind        string // what is limited: "key", "value", "ops", …
	Max, Actual int64
}

// Errorf is an Error of code c. A %w in format becomes its cause.
func Errorf(c Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: c, Msg: err.Error(), Err: errors.Unwrap(err), Unknown: c == OutcomeUnknown}
}

// LimitError is an Error of code c, SizeLimit or RangeLimit, about a limit.
func LimitError(c Code, kind string, limit, actual int64) *Error {
	return &Error{Code: c, Limit: Limit{Kind: kind, Max: limit, Actual: actual}}
}

// ConflictAt is the Conflict of the check with the given index.
func ConflictAt(check int) *Error { return &Error{Code: Conflict, Check: check + 1} }

// Error is the text: layer, op, message or code, and the limit.
func (e *Error) Error() string {
	var b strings.Builder
	for _, s := range []string{e.Layer, e.Op} {
		if s != "" {
			b.WriteString(s)
			b.WriteString(": ")
		}
	}
	switch {
	case e.Msg != "":
		b.WriteString(e.Msg)
	default:
		b.WriteString(codeTexts[min(e.Code, codesEnd)])
		if e.Err != nil {
			b.WriteString(": ")
			b.WriteString(e.Err.Error())
		}
	}
	if e.Limit.Kind != "" {
		fmt.Fprintf(&b, ": %s is %d, limit is %d", e.Limit.Kind, e.Limit.Actual, e.Limit.Max)
	}
	if e.ConfigPath != "" {
		fmt.Fprintf(&b, " (configuration: %s)", e.ConfigPath)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %s", e.RetryAfter)
	}
	if e.Unknown && e.Code != OutcomeUnknown {
		b.WriteString("; the write may have been applied")
	}
	return b.String()
}

var codeTexts = [...]string{"ok", "key not found", "conflict: a check failed", "backend unavailable",
	"serialization failed", "internal error", "timeout", "retries exhausted", "circuit breaker is open",
	"size limit exceeded", "range limit exceeded", "rate limit exceeded", "shutting down",
	"outcome unknown: the write may have been applied", "unsupported", "invalid argument", "already exists",
	"permission denied", "no space left", "the transaction is over", "canceled", "unauthenticated", "unknown error"}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is matches another *Error by its code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// FailedCheck is the index in WriteSet.Checks of the first check that failed; -1
// where the error names none.
func (e *Error) FailedCheck() int { return e.Check - 1 }

// Retryable tells whether the same call may succeed later and is harmless to
// repeat, because nothing was written.
func (e *Error) Retryable() bool {
	if e.Unknown {
		return false
	}
	return e.Code == Unavailable || e.Code == Timeout || e.Code == RateLimited
}

// AsError is err as an *Error: itself if there is one in its chain, Canceled or
// Timeout for the errors of a context, else Internal around it. Nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok { // nearly always, and without an allocation
		return e
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return &Error{Code: Canceled, Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: Timeout, Err: err}
	}
	return &Error{Code: Internal, Err: err}
}

// CodeOf is the code of err; OK for nil.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	return AsError(err).Code
}

// ContextError is the error of a call that ctx ended before it did anything:
// Canceled or Timeout, matched by the context's own errors too. Nil while ctx lives.
func ContextError(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return AsError(err)
	}
	return nil
}
