package ledger

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// ServerError carries the error of a node, as the cause of a storage.Error, for errors.As.
// Its text contains nothing that might be a key; Message may.
type ServerError struct {
	Endpoint  string
	Code      codes.Code
	Message   string                 // the server's own words
	Details   *ledgerpb.ErrorDetails // nil if it gave none
	RequestID string                 // what the server's log calls the request; empty if not given
}

// Error returns the code, the server's diagnostic number and the endpoint.
func (e *ServerError) Error() string {
	text := e.Endpoint + ": " + e.Code.String()
	if n := e.Details.GetErrorCode(); n != "" {
		text += " (" + n + ")"
	}
	return text
}

// failure says how an attempt ended that has no answer.
type failure struct {
	ServerError
	// sent reports that the request may have reached the server, answered that the server
	// itself returned the failure, and nothing in between.
	sent, answered bool
	// stale reports that it answered, with less than was there before.
	stale      bool
	heights    string // of each node, where stale
	cutShort   bool   // a list without keys that the node has
	retryAfter time.Duration
}

// Diagnostic numbers of the server that say more than the status.
const (
	codeNotLeader     = "2000"
	codeOrganization  = "3100"
	codeVault         = "3101"
	codeOrgMigrating  = "3106"
	codeUserMigrating = "3107"
)

// detailsTrailer is where the server puts its ErrorDetails, and where gRPC expects
// its own Status: it takes the one for the other, and makes Internal of whatever
// the status was.
const detailsTrailer = "grpc-status-details-bin"

// recovered returns the status of a call, with the one that the server meant where gRPC
// has put Internal in its place.
func recovered(err error, trailer metadata.MD) (codes.Code, string, *ledgerpb.ErrorDetails) {
	s, _ := status.FromError(err)
	raw := trailer.Get(detailsTrailer)
	if len(raw) != 1 {
		return s.Code(), s.Message(), nil
	}
	details := new(ledgerpb.ErrorDetails)
	if proto.Unmarshal([]byte(raw[0]), details) != nil || details.ErrorCode == "" {
		return s.Code(), s.Message(), nil
	}
	if s.Code() != codes.Internal {
		return s.Code(), s.Message(), details
	}
	if code, message, ok := mismatch(s.Message()); ok {
		return code, message, details
	}
	return codeOf(details.ErrorCode), s.Message(), details
}

// mismatch reads what gRPC says in place of a status whose details are not its own.
func mismatch(text string) (code codes.Code, message string, ok bool) {
	const head, middle = "grpc-status-details-bin mismatch: grpc-status=", ", grpc-message="
	rest, ok := strings.CutPrefix(text, head)
	if !ok {
		return 0, "", false
	}
	name, rest, ok := strings.Cut(rest, middle)
	if !ok {
		return 0, "", false
	}
	for code = codes.Canceled; code <= codes.Unauthenticated; code++ {
		if code.String() == name {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return code, "", true
			}
			message, _ = strconv.Unquote(quoted)
			return code, message, true
		}
	}
	return 0, "", false
}

// codeOf returns the status that a diagnostic number goes with, where gRPC's own words
// cannot be read.
func codeOf(number string) codes.Code {
	n, _ := strconv.Atoi(number)
	switch {
	case n >= 2000 && n < 3000, n == 3004:
		return codes.Unavailable
	case n >= 3100 && n <= 3102:
		return codes.NotFound
	case n == 3103 || n == 3106 || n == 3107:
		return codes.FailedPrecondition
	case n == 3104:
		return codes.AlreadyExists
	case n == 3203:
		return codes.InvalidArgument
	case n == 3205:
		return codes.ResourceExhausted
	}
	return codes.Internal
}

// migrating reports whether an organization or user is on its way to another region.
func (f *failure) migrating() bool {
	n := f.Details.GetErrorCode()
	return f.Code == codes.FailedPrecondition && (n == codeOrgMigrating || n == codeUserMigrating)
}

// misrouted reports whether the request relied on what is no longer true, such as the
// leader: the server says that it is worth another attempt.
func (f *failure) misrouted() bool {
	return f.Code == codes.FailedPrecondition && f.Details.GetIsRetryable() && !f.migrating()
}

// retryable reports whether another attempt may end better.
func (f *failure) retryable() bool {
	switch f.Code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.Canceled:
		return true
	case codes.ResourceExhausted:
		return !f.tooLarge()
	}
	return f.migrating() || f.misrouted()
}

// tooLarge reports whether a message did not fit: which side says so, and how, is a
// matter of the libraries on both.
func (f *failure) tooLarge() bool {
	if f.Code != codes.ResourceExhausted && f.Code != codes.OutOfRange {
		return false
	}
	return strings.Contains(f.Message, "larger than max") || strings.Contains(f.Message, "message length too large") || f.Code == codes.OutOfRange
}

// refused reports whether a write was certainly not done: it was not sent, the node
// does not take it as it is, or says that it is not the one, or not for this vault.
// What else is unavailable may have become so in the middle of it.
func (f *failure) refused() bool {
	if !f.sent {
		return true
	}
	if !f.answered {
		return false
	}
	switch f.Code {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.PermissionDenied, codes.Unauthenticated,
		codes.Unimplemented, codes.ResourceExhausted, codes.OutOfRange:
		return true
	case codes.Unavailable:
	default:
		return false
	}
	if strings.Contains(f.Message, "is not active on this node") {
		return true
	}
	for key := range f.Details.GetContext() {
		if f.Details.GetErrorCode() == codeNotLeader && strings.HasPrefix(key, "leader_") {
			return true
		}
	}
	return false
}

// leader returns the endpoint that the node takes for the leader's, or "" if it names none.
func (f *failure) leader() string {
	if f.Code != codes.Unavailable && !f.misrouted() {
		return ""
	}
	return f.Details.GetContext()["leader_endpoint"]
}

// storageError returns the failure as callers of the backend know errors.
func (f *failure) storageError() *storage.Error {
	e := &storage.Error{Code: storage.Internal, Layer: layer, Err: &f.ServerError, RetryAfter: f.retryAfter}
	say := func(c storage.Code, format string, args ...any) {
		e.Code, e.Msg = c, f.Endpoint+": "+fmt.Sprintf(format, args...)
	}
	switch f.Code {
	case codes.Unavailable, codes.Aborted, codes.Canceled:
		switch {
		case !f.answered:
			say(storage.Unavailable, "the node cannot be reached")
		case f.stale:
			say(storage.Unavailable, "the node is behind what was acknowledged before: %s", f.heights)
		case f.Details.GetErrorCode() == codeNotLeader:
			say(storage.Unavailable, "the node is not the leader, or there is none")
		default:
			say(storage.Unavailable, "the node is not available")
		}
	case codes.DeadlineExceeded:
		say(storage.Timeout, "no answer in time")
	case codes.ResourceExhausted, codes.OutOfRange:
		switch {
		case f.tooLarge():
			say(storage.RangeLimit, "the answer does not fit into a message")
		case f.retryAfter > 0:
			say(storage.RateLimited, "the node limits the rate of requests")
		default:
			say(storage.Unavailable, "the node has too much to do")
		}
	case codes.NotFound:
		// Never an absent key: those are no errors.
		say(storage.Internal, "unknown organization or vault")
		e.ConfigPath = "vault"
		if f.Details.GetErrorCode() == codeOrganization {
			e.ConfigPath = "organization"
		}
	case codes.AlreadyExists:
		say(storage.Conflict, "it exists already")
	case codes.InvalidArgument:
		say(storage.Serialization, "the server rejected the request as invalid")
	case codes.FailedPrecondition:
		if f.migrating() {
			say(storage.Unavailable, "the organization is moving to another region")
			break
		}
		if f.misrouted() {
			say(storage.Unavailable, "the node does not serve the vault any more")
			break
		}
		say(storage.Internal, "the state of the server does not allow the request")
	case codes.PermissionDenied:
		say(storage.PermissionDenied, "permission denied")
	case codes.Unauthenticated:
		say(storage.Unauthenticated, "caller not authenticated")
	case codes.Unimplemented:
		say(storage.Internal, "the endpoint is not a Ledger server: it does not implement Ledger's methods")
	case codes.DataLoss:
		if f.cutShort {
			say(storage.Internal, "the node's list ended early: the range holds keys that it leaves out, and that reads find")
			break
		}
		say(storage.Internal, "the server has lost data")
	default:
		say(storage.Internal, "the server has failed: %s", f.Code)
	}
	return e
}
