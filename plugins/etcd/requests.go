package etcd

import (
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

func opPut(key, value []byte, lease int64) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value, Lease: lease}}}
}

func opGet(key []byte) *pb.RequestOp { return opRange(&pb.RangeRequest{Key: key}) }

func opRange(r *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
}

func opDelete(from, to []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: from, RangeEnd: to}}}
}

func opTxn(r *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: r}}
}

// opDeleteLive deletes a key unless it has expired by a time in ms: the delete of what is
// absent changes nothing, not the version either.
func opDeleteLive(key []byte, now int64) *pb.RequestOp {
	return opTxn(&pb.TxnRequest{Compare: []*pb.Compare{isLive(key, now)}, Success: []*pb.RequestOp{opDelete(key, nil)}})
}

// opClear deletes a range, unless all in it has expired.
func opClear(from, to []byte, now int64) *pb.RequestOp {
	expired := &pb.Compare{Key: from, RangeEnd: to, Target: pb.Compare_VALUE, Result: pb.Compare_LESS, TargetUnion: &pb.Compare_Value{Value: after(now)}}
	return opTxn(&pb.TxnRequest{Compare: []*pb.Compare{expired}, Failure: []*pb.RequestOp{opDelete(from, to)}})
}

// isLive holds where a key has a live item at a time in ms.
func isLive(key []byte, now int64) *pb.Compare {
	return &pb.Compare{Key: key, Target: pb.Compare_VALUE, Result: pb.Compare_GREATER, TargetUnion: &pb.Compare_Value{Value: after(now)}}
}

func isValue(key, value []byte) *pb.Compare {
	return &pb.Compare{Key: key, Target: pb.Compare_VALUE, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_Value{Value: value}}
}

// isAt holds if a key was last put at a revision; at 0, if it is absent.
func isAt(key []byte, revision int64) *pb.Compare {
	return &pb.Compare{Key: key, Target: pb.Compare_MOD, Result: pb.Compare_EQUAL, TargetUnion: &pb.Compare_ModRevision{ModRevision: revision}}
}

// noneAfter holds where no key of a range was put after a revision.
func noneAfter(from, to []byte, revision int64) *pb.Compare {
	return &pb.Compare{Key: from, RangeEnd: to, Target: pb.Compare_MOD, Result: pb.Compare_LESS, TargetUnion: &pb.Compare_ModRevision{ModRevision: revision + 1}}
}

// revision returns a version as the cluster has it; what it cannot have is greater than any.
func revision(version uint64) int64 { return int64(min(version, math.MaxInt64-1)) }

// first returns the first key of an answer, or nil if there is none.
func first(r *pb.ResponseOp) *mvccpb.KeyValue {
	if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}
