package abigrpc

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/storage"
)

// Every code has its status, and comes back as it was with all that belongs to
// it.
func TestEveryCode(t *testing.T) {
	want := map[storage.Code]codes.Code{
		storage.NotFound: codes.NotFound, storage.Conflict: codes.Aborted, storage.Unavailable: codes.Unavailable,
		storage.Serialization: codes.Internal, storage.Internal: codes.Internal, storage.Timeout: codes.DeadlineExceeded,
		storage.RetriesExhausted: codes.Aborted, storage.CircuitOpen: codes.Unavailable, storage.SizeLimit: codes.InvalidArgument,
		storage.RangeLimit: codes.OutOfRange, storage.RateLimited: codes.ResourceExhausted, storage.ShuttingDown: codes.Unavailable,
		storage.OutcomeUnknown: codes.Unknown, storage.Unsupported: codes.Unimplemented, storage.InvalidArgument: codes.InvalidArgument,
		storage.AlreadyExists: codes.AlreadyExists, storage.PermissionDenied: codes.PermissionDenied, storage.NoSpace: codes.ResourceExhausted,
		storage.TxnDone: codes.FailedPrecondition, storage.Canceled: codes.Canceled, storage.Unauthenticated: codes.Unauthenticated,
		storage.VersionGone: codes.OutOfRange,
	}
	for c := storage.Code(1); c.Known(); c++ {
		if got := StatusCode(c, false); got != want[c] || want[c] == codes.OK {
			t.Errorf("%s is %s, want %s", c, got, want[c])
		}
		if got := StatusCode(c, true); got != codes.Unknown {
			t.Errorf("%s of unknown outcome is %s", c, got)
		}
		for _, e := range []storage.Error{
			{Code: c, Unknown: c == storage.OutcomeUnknown},
			{Code: c, Op: "get", Layer: "memory", Msg: "why", RetryAfter: 1500 * time.Millisecond, Unknown: true, Check: 3,
				Limit: storage.Limit{Kind: "key", Max: 1, Actual: 2}, ConfigPath: "max_bytes"},
		} {
			sent := ToStatus(&e)
			got := FromStatus(sent)
			if got == nil || *got != e {
				t.Errorf("%+v comes back as %+v", e, got)
			}
			if s, _ := status.FromError(sent); s.Code() != StatusCode(e.Code, e.Unknown) {
				t.Errorf("%+v is sent as %s", e, s.Code())
			}
		}
	}
	if StatusCode(200, false) != codes.Internal || StatusCode(storage.OK, false) != codes.OK {
		t.Error("codes beyond those that are known are Internal, none is OK")
	}
}

// Only what promises that nothing was written may be UNAVAILABLE, which proxies
// repeat.
func TestUnavailableIsHarmless(t *testing.T) {
	for c := storage.Code(1); c.Known(); c++ {
		if s, _ := status.FromError(ToStatus(&storage.Error{Code: c, Unknown: true})); s.Code() == codes.Unavailable {
			t.Errorf("%s of unknown outcome is UNAVAILABLE", c)
		}
	}
}

func TestStatusesOfOthers(t *testing.T) {
	if ToStatus(nil) != nil {
		t.Error("no error is one")
	}
	for _, err := range []error{nil, errors.New("plain"), status.Error(codes.Unavailable, "connection"), status.Error(codes.OK, "")} {
		if e := FromStatus(err); e != nil {
			t.Errorf("%v is taken for one of ours: %+v", err, e)
		}
	}
	if e := FromStatus(status.Error(codes.NotFound, "key not found")); !errors.Is(e, storage.ErrNotFound) {
		t.Errorf("a plain NOT_FOUND is %v", e)
	}
	wrapped := storage.Errorf(storage.Internal, "it broke: %w", errors.New("the disk"))
	if e := FromStatus(ToStatus(wrapped)); e.Msg != "it broke: the disk" {
		t.Errorf("%+v", e)
	}
}
