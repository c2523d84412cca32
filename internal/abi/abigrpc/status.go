package abigrpc

import (
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// errorType is the type of the detail that holds an Error.
const errorType = "type.googleapis.com/plinth.backend.v1.Error"

// StatusCode returns the status of an error of code c. UNAVAILABLE, which proxies and
// clients repeat on their own, promises that nothing was written; unknown says that
// something may have been.
func StatusCode(c storage.Code, unknown bool) codes.Code {
	if unknown {
		return codes.Unknown
	}
	switch c {
	case storage.OK:
		return codes.OK
	case storage.NotFound:
		return codes.NotFound
	case storage.Conflict, storage.RetriesExhausted:
		return codes.Aborted
	case storage.Unavailable, storage.CircuitOpen, storage.ShuttingDown:
		return codes.Unavailable
	case storage.Timeout:
		return codes.DeadlineExceeded
	case storage.RateLimited, storage.NoSpace:
		return codes.ResourceExhausted
	case storage.RangeLimit, storage.VersionGone:
		return codes.OutOfRange
	case storage.OutcomeUnknown:
		return codes.Unknown
	case storage.Unsupported:
		return codes.Unimplemented
	case storage.InvalidArgument, storage.SizeLimit:
		return codes.InvalidArgument
	case storage.AlreadyExists:
		return codes.AlreadyExists
	case storage.PermissionDenied:
		return codes.PermissionDenied
	case storage.TxnDone:
		return codes.FailedPrecondition
	case storage.Canceled:
		return codes.Canceled
	case storage.Unauthenticated:
		return codes.Unauthenticated
	}
	return codes.Internal // Internal, Serialization, and codes added later
}

// ToStatus returns err as the status of an answer: its code, its text, and an Error in the
// details. A plain NotFound, the one error that belongs to the day, has no details, because
// the code says it all.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if err == storage.ErrNotFound {
		return notFound
	}
	e := storage.AsError(err)
	if e.Code == storage.NotFound && e.Op == "" && e.Layer == "" && e.Msg == "" && e.Err == nil && !e.Unknown {
		return notFound
	}
	return status.FromProto(&spb.Status{
		Code:    int32(StatusCode(e.Code, e.Unknown)),
		Message: e.Error(),
		Details: []*anypb.Any{{TypeUrl: errorType, Value: abi.AppendError(nil, e)}},
	}).Err()
}

// Read only.
var notFound = status.Error(codes.NotFound, "key not found")

// FromStatus returns the error that the other side sent with a status, exactly as it
// was there but for its cause. It returns nil if the status contains none of ours, so
// that it comes from gRPC or from something in between.
func FromStatus(err error) *storage.Error {
	s, ok := status.FromError(err)
	if !ok {
		return nil
	}
	if s.Code() == codes.OK {
		return nil
	}
	for _, d := range s.Proto().GetDetails() {
		if d.GetTypeUrl() == errorType {
			return abi.DecodeError(d.GetValue())
		}
	}
	if s.Code() == codes.NotFound {
		return &storage.Error{Code: storage.NotFound}
	}
	return nil
}
