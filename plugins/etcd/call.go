package etcd

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"

	"github.com/plinthkv/plinth/storage"
)

// Waits between attempts, each up to twice the one before.
const (
	firstWait = 10 * time.Millisecond
	mostWait  = 500 * time.Millisecond
)

// sentKey is where a call's context has what tells whether its request was sent.
type sentKey struct{}

// sending is told by gRPC what becomes of requests.
type sending struct{}

func (sending) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (sending) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutHeader); ok {
		if sent, ok := ctx.Value(sentKey{}).(*atomic.Bool); ok {
			sent.Store(true)
		}
	}
}

func (sending) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (sending) HandleConn(context.Context, stats.ConnStats) {}

// outgoing is ctx with what every call says: that a member without a leader is to answer
// so at once.
func (b *Backend) outgoing(ctx context.Context) context.Context {
	return metadata.NewOutgoingContext(ctx, b.metadata)
}

// tries is a call with its attempts.
type tries struct {
	caller context.Context
	ctx    context.Context // ends with the time for the call, too
	n      int
}

// begin is a call that may take so long.
func (b *Backend) begin(caller context.Context, limit time.Duration) (*tries, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(b.outgoing(caller), limit)
	return &tries{caller: caller, ctx: ctx}, cancel
}

// wait waits for the next attempt; false: there is no time for one.
func (t *tries) wait() bool {
	wait := min(firstWait<<min(t.n, 16), mostWait)
	t.n++
	wait = wait/2 + rand.N(wait)
	if at, ok := t.ctx.Deadline(); ok && time.Until(at) < wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// reads makes a call that changes nothing, as often as there is time for.
func (b *Backend) reads(caller context.Context, call func(ctx context.Context) (*pb.ResponseHeader, error)) error {
	t, cancel := b.begin(caller, time.Duration(b.config.Timeouts.Read))
	defer cancel()
	for {
		header, err := b.attempt(t.ctx, call)
		if err == nil {
			if err = b.known(header); err == nil {
				return nil
			}
		}
		f := judge(err, true)
		if !f.again && caller.Err() == nil && f.code != storage.Canceled {
			return f.failed()
		}
		if !t.wait() {
			return ended(caller, &f)
		}
	}
}

// attempt makes a call with the time for one attempt.
func (b *Backend) attempt(ctx context.Context, call func(ctx context.Context) (*pb.ResponseHeader, error)) (*pb.ResponseHeader, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(b.config.Timeouts.Attempt))
	defer cancel()
	return call(ctx)
}

// known refuses what another cluster has answered.
func (b *Backend) known(h *pb.ResponseHeader) error {
	if is := h.GetClusterId(); is != b.cluster {
		return storage.Errorf(storage.Unavailable, "the cluster at the endpoints is %x, and the store was opened in %x: it must be opened again", is, b.cluster)
	}
	return nil
}

// live reads keys, and says what the time was before: what had not expired by then was
// there at some moment of the call, whatever is renewed meanwhile.
func (b *Backend) live(ctx context.Context, r *pb.RangeRequest) (answer *pb.RangeResponse, now int64, err error) {
	err = b.reads(ctx, func(ctx context.Context) (*pb.ResponseHeader, error) {
		now = b.now()
		answer, err = b.kv.Range(ctx, r)
		return answer.GetHeader(), err
	})
	return answer, now, err
}

// ranges reads keys.
func (b *Backend) ranges(ctx context.Context, r *pb.RangeRequest) (answer *pb.RangeResponse, err error) {
	err = b.reads(ctx, func(ctx context.Context) (*pb.ResponseHeader, error) {
		answer, err = b.kv.Range(ctx, r)
		return answer.GetHeader(), err
	})
	return answer, err
}

// readTxn reads what a transaction without writes says.
func (b *Backend) readTxn(ctx context.Context, r *pb.TxnRequest) (answer *pb.TxnResponse, err error) {
	err = b.reads(ctx, func(ctx context.Context) (*pb.ResponseHeader, error) {
		answer, err = b.kv.Txn(ctx, r)
		return answer.GetHeader(), err
	})
	return answer, err
}
