package etcd

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/storage"
)

// fault says what an error of the client or of the cluster means.
type fault struct {
	code storage.Code
	msg  string // for people; if empty, the error's text
	// done reports whether a write may have been applied.
	done bool
	// again: the same may succeed on another member, or later.
	again bool
	err   error
}

// refusals maps what the cluster says when it has not done what it was asked.
var refusals = map[error]fault{
	rpctypes.ErrNoSpace:                    {code: storage.NoSpace, msg: "the cluster is out of space and refuses puts: compact and defragment it or raise its quota, then disarm the alarm"},
	rpctypes.ErrTooManyRequests:            {code: storage.RateLimited, msg: "the cluster has too many requests waiting", again: true},
	rpctypes.ErrRequestTooLarge:            {code: storage.SizeLimit, msg: "the request exceeds the cluster's --max-request-bytes: set max_request to that"},
	rpctypes.ErrTooManyOps:                 {code: storage.SizeLimit, msg: "the transaction exceeds the cluster's --max-txn-ops: set max_ops to that"},
	rpctypes.ErrCompacted:                  {code: storage.Conflict, msg: "the version to scan was compacted by the cluster"},
	rpctypes.ErrFutureRev:                  {code: storage.Conflict, msg: "the version to scan does not exist yet"},
	rpctypes.ErrNoLeader:                   {code: storage.Unavailable, msg: "the cluster has no leader", again: true},
	rpctypes.ErrNotLeader:                  {code: storage.Unavailable, again: true},
	rpctypes.ErrUnhealthy:                  {code: storage.Unavailable, again: true},
	rpctypes.ErrNotCapable:                 {code: storage.Unavailable, again: true},
	rpctypes.ErrInvalidAuthToken:           {code: storage.Unauthenticated, again: true}, // the client fetches another
	rpctypes.ErrAuthOldRevision:            {code: storage.Unauthenticated, again: true},
	rpctypes.ErrUserEmpty:                  {code: storage.Unauthenticated, msg: "the cluster requires a user: set username and password"},
	rpctypes.ErrAuthFailed:                 {code: storage.Unauthenticated, msg: "the cluster refuses the username or the password"},
	rpctypes.ErrPermissionDenied:           {code: storage.PermissionDenied, msg: "the cluster's user has no permission for the prefix: it needs readwrite on all keys with it"},
	rpctypes.ErrCorrupt:                    {code: storage.Internal, msg: "the cluster says that its data is corrupt"},
	rpctypes.ErrLeaseNotFound:              {code: storage.Unavailable, again: true},
	rpctypes.ErrLeaseTTLTooLarge:           {code: storage.InvalidArgument},
	rpctypes.ErrMemberNotLearner:           {code: storage.Unavailable, again: true},
	rpctypes.ErrDuplicateKey:               {code: storage.Internal},
	rpctypes.ErrEmptyKey:                   {code: storage.Internal},
	rpctypes.ErrLeaderChanged:              {code: storage.Unavailable, again: true, done: true},
	rpctypes.ErrTimeout:                    {code: storage.Unavailable, again: true, done: true},
	rpctypes.ErrTimeoutDueToLeaderFail:     {code: storage.Unavailable, again: true, done: true},
	rpctypes.ErrTimeoutDueToConnectionLost: {code: storage.Unavailable, again: true, done: true},
	rpctypes.ErrTimeoutWaitAppliedIndex:    {code: storage.Unavailable, again: true, done: true},
	rpctypes.ErrStopped:                    {code: storage.Unavailable, again: true, done: true},
}

// judge says what an error of a call means; sent: the request may have reached a member.
func judge(err error, sent bool) fault {
	if e, ok := err.(*storage.Error); ok { // one of ours
		return fault{code: e.Code, err: e}
	}
	if known := rpctypes.Error(err); refusals[known].code != storage.OK {
		return refused(known, err)
	}
	s, _ := status.FromError(err)
	switch s.Code() {
	case codes.DeadlineExceeded:
		return fault{code: storage.Timeout, again: true, done: sent, err: err}
	case codes.Canceled:
		return fault{code: storage.Canceled, done: sent, err: err}
	case codes.Unavailable:
		return fault{code: storage.Unavailable, again: true, done: sent, err: err}
	case codes.ResourceExhausted:
		if tooLarge(err) { // of an answer that is we say, and ask for less
			return refused(rpctypes.ErrRequestTooLarge, err)
		}
		return fault{code: storage.RateLimited, again: true, err: err}
	case codes.Unimplemented:
		return fault{code: storage.InvalidArgument, msg: "what answers at the endpoints is not an etcd", err: err}
	case codes.Unauthenticated:
		return fault{code: storage.Unauthenticated, err: err}
	case codes.PermissionDenied:
		return fault{code: storage.PermissionDenied, err: err}
	case codes.Unknown:
		if s.Message() == "raft proposal dropped" { // there is no leader to hand it to
			return fault{code: storage.Unavailable, msg: "the cluster has no leader", again: true, err: err}
		}
	}
	return fault{code: storage.Internal, done: sent, err: err}
}

func refused(as, err error) fault {
	f := refusals[as]
	f.err = err
	return f
}

// tooLarge reports whether a message was refused for its size by gRPC.
func tooLarge(err error) bool {
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.ResourceExhausted && strings.Contains(s.Message(), "larger than max")
}

// failed returns the fault of a read as an error, or of a write that was not applied.
func (f *fault) failed() error {
	if e, ok := f.err.(*storage.Error); ok {
		return e
	}
	e := &storage.Error{Code: f.code, Layer: layer, Msg: f.text(), Err: f.err}
	if f.code == storage.RateLimited {
		e.RetryAfter = time.Second
	}
	return e
}

// unknown returns the fault of a write that may have been applied, as an error.
func (f *fault) unknown() error {
	return &storage.Error{Code: storage.OutcomeUnknown, Unknown: true, Layer: layer, Msg: "the write may have been applied: " + f.text(), Err: f.err}
}

func (f *fault) text() string {
	if f.msg != "" {
		return f.msg
	}
	return rpctypes.ErrorDesc(f.err)
}

// ended returns the error of a call whose time is over: the caller's own end if that is what it
// was, else what came last of the attempts.
func ended(caller context.Context, last *fault) error {
	switch {
	case caller.Err() != nil:
		return storage.ContextError(caller)
	case last.code == storage.Canceled:
		return errClosed()
	}
	return last.failed()
}

// named returns err with what was tried.
func named(op string, err error) error {
	var e *storage.Error
	if !errors.As(err, &e) || e.Op != "" {
		return err
	}
	own := *e
	own.Op, own.Layer = op, layer
	return &own
}
