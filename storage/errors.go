package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code classifies an error. It is also an error itself: a backend may return a Code if it
// has nothing to add. Its numbers are the same in every carrier and protocol, and are only
// ever added to.
type Code uint8

// The codes. All but OutcomeUnknown mean that nothing was written, unless
// Error.Unknown says otherwise. OK is no error: it is what [CodeOf] returns for nil.
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
	SizeLimit        Code = 9  // something in the request exceeds its limit
	RangeLimit       Code = 10 // the answer would exceed its limit
	RateLimited      Code = 11 // refused by a rate limiter
	ShuttingDown     Code = 12 // closed, or closing
	OutcomeUnknown   Code = 13 // it may have been applied
	Unsupported      Code = 14 // this backend cannot do it
	InvalidArgument  Code = 15 // the request is invalid
	AlreadyExists    Code = 16
	PermissionDenied Code = 17
	NoSpace          Code = 18 // the backend's space is used up
	TxnDone          Code = 19 // the transaction is over
	Canceled         Code = 20 // the caller left before anything was done
	Unauthenticated  Code = 21
	VersionGone      Code = 22 // the changes after this version are not kept, or it never was

	codesEnd = VersionGone + 1
)

var codeNames = [...]string{"ok", "not_found", "conflict", "unavailable", "serialization", "internal", "timeout",
	"retries_exhausted", "circuit_open", "size_limit", "range_limit", "rate_limited", "shutting_down", "outcome_unknown",
	"unsupported", "invalid_argument", "already_exists", "permission_denied", "no_space", "txn_done", "canceled",
	"unauthenticated", "version_gone"}

// Name returns the code's name in snake_case, as protocols show it.
func (c Code) Name() string {
	if c.Known() {
		return codeNames[c]
	}
	return fmt.Sprintf("code_%d", uint8(c))
}

// Error returns the code in words, such as "key not found".
func (c Code) Error() string { return codeTexts[min(c, codesEnd)] }

// Known reports whether this version knows the code. Error treats others as Internal.
func (c Code) Known() bool { return c < codesEnd }

// The sentinels, for errors.Is: the codes, by the names that Go gives errors. An
// [Error] matches the sentinel of its code.
const (
	ErrNotFound         = NotFound
	ErrConflict         = Conflict
	ErrUnavailable      = Unavailable
	ErrSerialization    = Serialization
	ErrInternal         = Internal
	ErrTimeout          = Timeout
	ErrRetriesExhausted = RetriesExhausted
	ErrCircuitOpen      = CircuitOpen
	ErrSizeLimit        = SizeLimit
	ErrRangeLimit       = RangeLimit
	ErrRateLimited      = RateLimited
	ErrShuttingDown     = ShuttingDown
	ErrOutcomeUnknown   = OutcomeUnknown
	ErrUnsupported      = Unsupported
	ErrInvalidArgument  = InvalidArgument
	ErrAlreadyExists    = AlreadyExists
	ErrPermissionDenied = PermissionDenied
	ErrNoSpace          = NoSpace
	ErrTxnDone          = TxnDone
	ErrCanceled         = Canceled
	ErrUnauthenticated  = Unauthenticated
	ErrVersionGone      = VersionGone
)

// Error describes a failed storage call. Its text never contains a value or a whole key.
type Error struct {
	Code  Code
	Op    string // the operation, such as "get" or "apply"; optional
	Layer string // the origin: a backend's or wrapper's name; optional
	Msg   string // for people; if empty, the code is enough
	// RetryAfter says how long to wait before the next attempt. If zero, it is unknown.
	RetryAfter time.Duration
	// Unknown means that the write may have been applied all the same. It is always set
	// with OutcomeUnknown.
	Unknown bool
	// Check is 1 + the index in WriteSet.Checks of the first check that failed, or 0. See
	// [Error.FailedCheck].
	Check int
	// Limit names the limit that was exceeded. It is optional.
	Limit Limit
	// ConfigPath names the setting of a plugin or wrapper that the error is about, such as
	// "max_bytes". It is optional.
	ConfigPath string
	Err        error // the cause; optional
}

// Limit names a limit and its value.
type Limit struct {
	Kind        string // what is limited: "key", "value", "ops", …
	Max, Actual int64
}

// Errorf returns an Error of code c with a formatted message. Errors formatted with %w
// are its causes; errors.Is and errors.As match all of them.
func Errorf(c Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: c, Msg: err.Error(), Unknown: c == OutcomeUnknown}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		e.Err = w.Unwrap()
	case interface{ Unwrap() []error }:
		e.Err = err // which holds them all
	}
	return e
}

// LimitError returns an Error of code c, such as SizeLimit or RangeLimit, about a limit.
func LimitError(c Code, kind string, limit, actual int64) *Error {
	return &Error{Code: c, Limit: Limit{Kind: kind, Max: limit, Actual: actual}}
}

// ConflictAt returns the Conflict of the check with the given index.
func ConflictAt(check int) *Error { return &Error{Code: Conflict, Check: check + 1} }

// Error returns the text: layer, op, message or code, and the limit.
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
		b.WriteString(e.Code.Error())
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
	"permission denied", "no space left", "the transaction is over", "canceled", "unauthenticated",
	"the changes after this version are not kept", "unknown error"}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error's code, as the sentinels are.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// FailedCheck returns the index in WriteSet.Checks of the first check that failed, or -1
// if the error names none.
func (e *Error) FailedCheck() int { return e.Check - 1 }

// Retryable reports whether the same call may succeed later and is harmless to repeat,
// because nothing was written.
func (e *Error) Retryable() bool {
	if e.Unknown {
		return false
	}
	return e.Code == Unavailable || e.Code == Timeout || e.Code == RateLimited
}

// AsError returns err as an *Error: the *Error in its chain, or else a new one around
// err. The new one has the Code in the chain, Canceled or Timeout for the errors of a
// context, or Internal. It returns nil for nil. If only the code matters, [CodeOf] is
// enough, and allocates less.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := find[*Error](err); ok {
		return e
	}
	if c, ok := err.(Code); ok { // says it all
		return &Error{Code: c, Unknown: c == OutcomeUnknown}
	}
	if c, ok := find[Code](err); ok {
		return &Error{Code: c, Msg: err.Error(), Unknown: c == OutcomeUnknown, Err: err}
	}
	return &Error{Code: foreign(err), Err: err}
}

// CodeOf returns the code of err, as [AsError] finds it; OK for nil.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := find[*Error](err); ok {
		return e.Code
	}
	if c, ok := find[Code](err); ok {
		return c
	}
	return foreign(err)
}

// Unknown reports whether err leaves open whether a write was applied.
func Unknown(err error) bool {
	if e, ok := find[*Error](err); ok {
		return e.Unknown
	}
	c, ok := find[Code](err)
	return ok && c == OutcomeUnknown
}

// find does what errors.As does, which allocates, after a look at err itself: nearly always
// that is what it looks for, or a Code, which wraps nothing.
func find[E error](err error) (E, bool) {
	e, ok := err.(E)
	if ok || err == nil {
		return e, ok
	}
	if _, end := err.(Code); end {
		return e, false
	}
	var in E
	ok = errors.As(err, &in)
	return in, ok
}

// foreign returns the code of an error that knows nothing of codes.
func foreign(err error) Code {
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Internal
}

// ContextError returns the error of a call that ctx ended before it did anything:
// Canceled or Timeout, which also matches the context's own error. It returns nil while
// ctx lives.
func ContextError(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return AsError(err)
	}
	return nil
}
