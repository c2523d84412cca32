package etcd

import (
	"math"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// writes puts the ops into r, and the ID.
func (p *proposal) writes(r *pb.TxnRequest) error {
	now := p.now
	r.Success = make([]*pb.RequestOp, 0, len(p.ops)+1)
	for i := range p.ops {
		o := &p.ops[i]
		switch {
		case o.Kind == storage.OpDeleteRange:
			if from, to := p.b.space.bounds(o.Key, o.End); !storage.EmptyRange(from, to) {
				r.Success = append(r.Success, opClear(from, to, now))
			}
		case o.Kind == storage.OpDelete || lapses(o, now):
			r.Success = append(r.Success, opDeleteLive(p.b.space.key(o.Key), now))
		default:
			at, id := durable.Millis(o.ExpiresAt), int64(0)
			if at != 0 {
				l, err := p.lease(at)
				if err != nil {
					return err
				}
				id = l.id
			}
			r.Success = append(r.Success, opPut(p.b.space.key(o.Key), encode(o.Value, at), id))
		}
	}
	if p.moves {
		r.Success = append(r.Success, opPut(p.b.space.moved, nil, 0))
	}
	if p.idKey == nil {
		if len(r.Success) == 0 { // without this read a member would judge the checks on what it has, however old
			r.Success = append(r.Success, opRange(&pb.RangeRequest{Key: p.b.space.marker, CountOnly: true}))
		}
		return nil
	}
	if p.idLease == nil {
		l, err := p.lease(now + time.Duration(p.b.config.IDWindow).Milliseconds())
		if err != nil {
			return err
		}
		p.idLease = l
	}
	r.Success = append(r.Success, opPut(p.idKey, p.digest[:], p.idLease.id))
	if p.trial {
		p.idLease = nil
	}
	return nil
}

// lease returns one for what expires at a time in ms.
func (p *proposal) lease(at int64) (*lease, error) {
	if p.trial {
		return &lease{id: math.MaxInt64}, nil
	}
	return p.b.leases.until(p.t.caller, at, p.now)
}
