package etcd

import (
	"context"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// Apply does all of w or nothing, in one transaction of the cluster: see [storage.Backend]. A
// check is sent as a compare with the stored value. If that fails although the check may hold, as
// for an expired key, the stored value is read and compared.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if err := w.Validate(&b.info); err != nil {
		return 0, err
	}
	if err := b.enter(ctx); err != nil {
		return 0, err
	}
	defer b.leave()
	p, err := b.propose(w)
	if err != nil {
		return 0, err
	}
	p.t = b.begin(ctx, time.Duration(b.config.Timeouts.Write))
	version, err := p.run()
	if err != nil {
		return 0, named("apply", err)
	}
	return uint64(version), nil
}

// proposal is a write set on its way.
type proposal struct {
	b   *Backend
	w   *storage.WriteSet // with its bounds cut
	ops []storage.Op      // what w's come to
	// moves: w puts what it deletes again, and the version moves all the same.
	moves bool
	t     *tries
	now   int64 // before the attempt, in ms: what is read is judged by it

	trial bool // no lease is asked for: the request is only made for its size

	seen *state // of the checks' keys, or nil if none was read

	idKey   []byte // nil if w has no ID
	digest  [16]byte
	idLease *lease
	burned  int64 // the revision at which the ID's key was last burned; 0 if never
	// doubt is what became of an attempt that may have been applied, or may yet be.
	doubt *fault
}

// mostMoves limits how often a write set is tried again because what its checks look at has
// changed meanwhile.
const mostMoves = 32

// propose checks all of a write set that needs no look at the cluster.
func (b *Backend) propose(w *storage.WriteSet) (*proposal, error) {
	p, now := &proposal{b: b, w: w.Cut(b.info.Limits)}, b.now()
	p.ops = p.w.Ops
	if len(p.ops) > 1 {
		n, err := storage.Normalize(&storage.WriteSet{Ops: lapsed(p.ops, now)}, &b.info)
		if err != nil {
			return nil, err
		}
		p.ops = n.Ops
		p.moves = puts(w.Ops, now) && !puts(n.Ops, now)
	}
	if most := b.config.MaxOps - ownOps; len(p.ops) > most {
		return nil, storage.LimitError(storage.SizeLimit, "ops of the transaction for the write set", int64(most), int64(len(p.ops)))
	}
	if w.ID != [16]byte{} {
		p.idKey, p.digest = b.space.idKey(w.ID), durable.Digest(w)
	}
	if p.now = now; 2*bytesOf(w) > int(b.config.MaxRequest) { // it may be too large
		p.trial = true
		if _, err := p.request(); err != nil {
			return nil, err
		}
		p.trial = false
	}
	return p, nil
}

// lapsed returns ops with deletes in place of those puts that expire at once. It is ops
// itself where there are none.
func lapsed(ops []storage.Op, now int64) []storage.Op {
	for i := range ops {
		if !lapses(&ops[i], now) {
			continue
		}
		own := append([]storage.Op(nil), ops...)
		for j := i; j < len(own); j++ {
			if lapses(&own[j], now) {
				own[j] = storage.Delete(own[j].Key)
			}
		}
		return own
	}
	return ops
}

// puts reports whether one of ops puts an item.
func puts(ops []storage.Op, now int64) bool {
	return slices.ContainsFunc(ops, func(o storage.Op) bool { return o.Kind == storage.OpPut && !lapses(&o, now) })
}

func lapses(o *storage.Op, now int64) bool {
	at := durable.Millis(o.ExpiresAt)
	return o.Kind == storage.OpPut && at != 0 && at <= now
}

// bytesOf returns how much a write set has of keys and values.
func bytesOf(w *storage.WriteSet) (n int) {
	for i := range w.Ops {
		n += len(w.Ops[i].Key) + len(w.Ops[i].End) + len(w.Ops[i].Value)
	}
	for i := range w.Checks {
		n += 2*len(w.Checks[i].Key) + len(w.Checks[i].End) + len(w.Checks[i].Value)
	}
	return n
}

// run sends the transaction until it is known what became of it.
func (p *proposal) run() (int64, error) {
	if err := p.b.within(p.t.caller, p); err != nil {
		return 0, err
	}
	for moves := 0; moves < mostMoves; {
		p.now = p.b.now()
		if version, err := p.beforehand(); version != 0 || err != nil {
			return version, err
		}
		r, err := p.request()
		if err != nil {
			return 0, p.fails(err)
		}
		answer, f := p.b.write(p, r)
		if f != nil {
			if err := p.recover(f); err != nil {
				return 0, err
			}
			continue
		}
		if answer.Succeeded {
			return answer.Header.Revision, nil
		}
		if version, err := p.judge(answer); version != 0 || err != nil {
			return version, err
		}
		moves++
	}
	return 0, p.fails(storage.Errorf(storage.Unavailable, "what the checks look at changed during each of %d attempts", mostMoves))
}

// recover waits for the next attempt after one that failed. The error is the write set's:
// there is none.
func (p *proposal) recover(f *fault) error {
	if f.done {
		p.doubt = f
	}
	switch {
	case p.idKey == nil && f.done, f.code == storage.Canceled, !f.again:
		return p.ends(f)
	case rpctypes.Error(f.err) == rpctypes.ErrLeaseNotFound:
		p.b.leases.forget()
		if p.doubt != nil { // what reports whether that was done may be gone with the lease
			return p.ends(f)
		}
		p.idLease = nil
	}
	if !p.t.wait() {
		return p.ends(f)
	}
	return nil
}

// write makes one attempt; the fault is nil if there was an answer.
func (b *Backend) write(p *proposal, r *pb.TxnRequest) (*pb.TxnResponse, *fault) {
	ctx, cancel := p.t.attempt(p.idKey == nil) // without an ID it is the only one
	defer cancel()
	var to peer.Peer // gRPC says who the request was sent to
	answer, err := b.commit(ctx, r, grpc.Peer(&to))
	if err == nil {
		if err = b.known(answer.Header); err == nil {
			return answer, nil
		}
		return nil, &fault{code: storage.Unavailable, done: true, err: err}
	}
	f := p.t.judge(err, to.Addr != nil)
	return nil, &f
}

// commit sends a transaction; of one put alone as that, which costs the cluster less.
func (b *Backend) commit(ctx context.Context, r *pb.TxnRequest, o grpc.CallOption) (*pb.TxnResponse, error) {
	if len(r.Compare) > 0 || len(r.Success) != 1 || r.Success[0].GetRequestPut() == nil {
		return b.kv.Txn(ctx, r, o)
	}
	answer, err := b.kv.Put(ctx, r.Success[0].GetRequestPut(), o)
	if err != nil {
		return nil, err
	}
	return &pb.TxnResponse{Header: answer.Header, Succeeded: true}, nil
}

// ends returns the error of a write set after an attempt that is the last.
func (p *proposal) ends(f *fault) error {
	if p.doubt != nil {
		return p.doubt.unknown()
	}
	return ended(p.t.caller, f)
}

// fails returns err, or that the outcome is unknown if that of an attempt is.
func (p *proposal) fails(err error) error {
	if p.doubt != nil {
		return p.doubt.unknown()
	}
	return err
}
