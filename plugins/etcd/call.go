package etcd

import (
	"context"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/storage"
)

// Waits between attempts, each up to twice the one before.
const (
	firstWait = 10 * time.Millisecond
	mostWait  = 500 * time.Millisecond
)

// leading says with every call that a member without a leader is to answer so at once. As
// credentials it costs the least.
type leading map[string]string

func (l leading) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return l, nil
}

func (leading) RequireTransportSecurity() bool { return false }

// tries is a call with its attempts.
type tries struct {
	b      *Backend
	caller context.Context
	until  time.Time // when there is no more time for an attempt
	n      int
	said   *fault // by the cluster, in the last attempt that it answered; nil if none
}

// begin starts a call that may take until limit.
func (b *Backend) begin(caller context.Context, limit time.Duration) *tries {
	return &tries{b: b, caller: caller, until: time.Now().Add(limit)}
}

// attempt returns the context of an attempt; whole: it may take all the time that is left, for
// it is not made again.
func (t *tries) attempt(whole bool) (context.Context, context.CancelFunc) {
	until := t.until
	if own := time.Now().Add(time.Duration(t.b.config.Timeouts.Attempt)); !whole && own.Before(until) {
		until = own
	}
	ctx := t.caller
	if _, ok := metadata.FromOutgoingContext(ctx); ok { // it is for others
		ctx = metadata.NewOutgoingContext(ctx, nil)
	}
	return context.WithDeadline(ctx, until)
}

// wait waits for the next attempt. It returns false if there is no time for one.
func (t *tries) wait() bool {
	wait := min(firstWait<<min(t.n, 16), mostWait)
	t.n++
	wait = wait/2 + rand.N(wait)
	if t.caller.Err() != nil || time.Until(t.until) < wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.caller.Done():
		return false
	}
}

// answered judges the outcome of an attempt of a call that changes nothing. again
// reports that it failed, and that it is time for the next.
func (t *tries) answered(h *pb.ResponseHeader, err error) (again bool, _ error) {
	if err == nil {
		if err = t.b.known(h); err == nil {
			return false, nil
		}
	}
	f := t.judge(err, true)
	if timedOut := status.Code(err) == codes.DeadlineExceeded; !timedOut {
		t.said = &f
	} else if t.said != nil && f.code == storage.Unavailable { // it says why better than the time that is over
		f = *t.said
	}
	switch {
	case !f.again && t.caller.Err() == nil && f.code != storage.Canceled:
		return false, f.failed()
	case f.again && t.wait():
		return true, nil
	}
	return false, ended(t.caller, &f)
}

// judge returns what an error of an attempt means. A member that is being stopped reports a
// canceled call, although the caller has not canceled it. A member that does not answer in
// the time of an attempt, while the caller has more time, cannot be reached.
func (t *tries) judge(err error, sent bool) fault {
	f := judge(err, sent)
	if (f.code == storage.Canceled || f.code == storage.Timeout) && t.caller.Err() == nil && !t.b.closed.Load() {
		f.code, f.again = storage.Unavailable, true
	}
	return f
}

// known refuses answers of another cluster.
func (b *Backend) known(h *pb.ResponseHeader) error {
	if is := h.GetClusterId(); is != b.cluster {
		return storage.Errorf(storage.Unavailable, "the cluster at the endpoints is %x, and the store was opened in %x: it must be opened again", is, b.cluster)
	}
	return nil
}

// live reads keys, and says what the time was before: what had not expired by then was
// there at some moment of the call, whatever is renewed meanwhile.
func (b *Backend) live(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, int64, error) {
	t := b.begin(ctx, time.Duration(b.config.Timeouts.Read))
	for {
		now := b.now()
		ctx, cancel := t.attempt(false)
		answer, err := b.kv.Range(ctx, r)
		cancel()
		if again, err := t.answered(answer.GetHeader(), err); !again {
			return answer, now, err
		}
	}
}

// ranges reads keys.
func (b *Backend) ranges(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	answer, _, err := b.live(ctx, r)
	return answer, err
}

// readTxn reads what a transaction without writes says.
func (b *Backend) readTxn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	t := b.begin(ctx, time.Duration(b.config.Timeouts.Read))
	for {
		ctx, cancel := t.attempt(false)
		answer, err := b.kv.Txn(ctx, r)
		cancel()
		if again, err := t.answered(answer.GetHeader(), err); !again {
			return answer, err
		}
	}
}
