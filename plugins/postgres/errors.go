package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/plinthkv/plinth/storage"
)

const layer = "postgres"

// SQLSTATEs, by PostgreSQL's Appendix A.
const (
	stateSerialization = "40001"
	stateDeadlock      = "40P01"
	stateReadOnly      = "25006"
	stateUnique        = "23505"
	stateUndefined     = "42P01" // table
	stateNoSchema      = "3F000"
	stateNoDatabase    = "3D000"
	stateDenied        = "42501"
	stateDiskFull      = "53100"
	stateManyConns     = "53300"
	stateCanceled      = "57014"
	stateLockTimeout   = "55P03"
	stateStatement     = "26000" // a prepared statement that is not known
	stateExists        = "42P07"
)

// codes of whole classes and of single states, the longest match counts.
var codes = map[string]storage.Code{
	"08": storage.Unavailable, "57": storage.Unavailable, "53": storage.Unavailable, "58": storage.Unavailable, "40": storage.Unavailable,
	"28": storage.Unauthenticated, stateReadOnly: storage.Unavailable, stateDiskFull: storage.NoSpace, "53400": storage.NoSpace,
	stateCanceled: storage.Timeout, stateLockTimeout: storage.Timeout, "25P03": storage.Unavailable, "25P04": storage.Timeout,
	stateDenied: storage.PermissionDenied, stateNoDatabase: storage.InvalidArgument, stateUndefined: storage.Internal, stateNoSchema: storage.InvalidArgument,
}

// stateOf returns the SQLSTATE of an error of the server, or "" if it is none.
func stateOf(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// refused reports whether the server says that the statement was not done: that it gave it up
// and goes on with the connection. What ends the connection leaves it open.
func refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Severity != "FATAL" && pg.Severity != "PANIC" && pg.SeverityUnlocalized != "FATAL" && pg.SeverityUnlocalized != "PANIC"
}

// repeatable reports whether the same may succeed in a moment, on this connection or another.
func repeatable(err error) bool {
	switch state := stateOf(err); {
	case state == "":
		return broken(err)
	case state == stateSerialization, state == stateDeadlock, state == stateStatement:
		return true
	default:
		return strings.HasPrefix(state, "57P")
	}
}

// broken reports whether an error is that of a connection.
func broken(err error) bool {
	return err != nil && stateOf(err) == "" && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !pgconn.Timeout(err) && storage.CodeOf(err) == storage.Internal
}

// failed returns an error of the client or the server as the contract has it. It holds no values:
// the server's details are left out.
func failed(err error) error {
	var own *storage.Error
	var code storage.Code
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own
	case errors.As(err, &code):
		return code
	case errors.Is(err, puddle.ErrClosedPool):
		return errClosed()
	case errors.As(err, &pg):
		return &storage.Error{Code: codeOf(pg.Code), Layer: layer, Msg: fmt.Sprintf("%s (SQLSTATE %s)%s", said(pg), pg.Code, advice(pg.Code)), Err: stateError(pg.Code)}
	case err == context.DeadlineExceeded: // the caller's
		return storage.AsError(err)
	case errors.Is(err, context.Canceled):
		return &storage.Error{Code: storage.Canceled, Layer: layer, Err: context.Canceled}
	case errors.As(err, &connect):
		return &storage.Error{Code: storage.Unavailable, Layer: layer, Msg: "the server cannot be reached: " + connectText(connect)}
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return &storage.Error{Code: storage.Timeout, Layer: layer, Msg: "the server did not answer in time", Err: context.DeadlineExceeded}
	}
	return &storage.Error{Code: storage.Unavailable, Layer: layer, Msg: "the connection to the server broke: " + err.Error()}
}

// stateError keeps the SQLSTATE of what was mapped, without what the server said.
type stateError string

func (e stateError) Error() string { return "SQLSTATE " + string(e) }

// said returns the server's message, unless it may contain stored data: those of class 22
// quote values.
func said(pg *pgconn.PgError) string {
	if strings.HasPrefix(pg.Code, "22") {
		return "the server refuses a value"
	}
	return pg.Message
}

// connectText returns what is wrong with a connection. The driver tries each address with and
// without TLS: an attempt that failed like one before it is left out.
func connectText(err *pgconn.ConnectError) string {
	text := err.Error()
	if cause := err.Unwrap(); cause != nil {
		text = cause.Error()
	}
	var attempts []string
	for line := range strings.Lines(text) {
		line = strings.Join(strings.Fields(line), " ")
		if line != "" && !slices.Contains(attempts, line) {
			attempts = append(attempts, line)
		}
	}
	return strings.Join(attempts, "; ")
}

func codeOf(state string) storage.Code {
	for n := len(state); n >= 2; n-- {
		if code, ok := codes[state[:n]]; ok {
			return code
		}
	}
	return storage.Internal
}

// advice returns what to do about a state.
func advice(state string) string {
	switch state {
	case stateReadOnly:
		return ": it is a standby, or became one"
	case stateManyConns:
		return ": raise max_connections, or lower connections and snapshots here"
	case stateUndefined:
		return ": the table is missing: create it with plinth postgres init"
	case stateNoDatabase:
		return ": create the database first"
	}
	return ""
}

// unknown returns the error of a write that may have been applied.
func unknown(err error) error {
	e := &storage.Error{Code: storage.OutcomeUnknown, Unknown: true, Layer: layer, Msg: "the write may have been applied: " + failed(err).Error()}
	for _, end := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, end) {
			e.Err = end
		}
	}
	return e
}

func errClosed() error { return &storage.Error{Code: storage.ShuttingDown, Layer: layer} }
