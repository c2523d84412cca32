package etcd

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/plinthkv/plinth/storage"
)

// The key of an ID holds the digest of the write set that was done under it, and its mod
// revision is the version of that. An empty value says that none was done: it is put where an
// attempt may still be on its way, which compares with an absent key and then fails. All
// attempts put the key with one lease: once that has collected the key none can put it.

// repeated judges what the key of the ID holds: the version of the write set that was done.
func (p *proposal) repeated(kv *mvccpb.KeyValue) (int64, error) {
	switch {
	case kv == nil:
		p.burned = 0
	case len(kv.Value) == 0:
		p.burned = kv.ModRevision
	case string(kv.Value) != string(p.digest[:]):
		return 0, storage.Errorf(storage.InvalidArgument, "the ID of the write set was used for another content")
	default:
		return kv.ModRevision, nil
	}
	return 0, nil
}

// burn prevents attempts that are still on their way, and then returns why; if one was
// done, it returns its version.
func (p *proposal) burn(why error) (int64, error) {
	for {
		answer, f := p.b.write(p, &pb.TxnRequest{
			Compare: []*pb.Compare{isAt(p.idKey, p.burned)},
			Success: []*pb.RequestOp{opPut(p.idKey, nil, p.idLease.id)},
			Failure: []*pb.RequestOp{opGet(p.idKey)},
		})
		if f != nil {
			if err := p.recover(f); err != nil {
				return 0, err
			}
			continue
		}
		if answer.Succeeded {
			return 0, why
		}
		version, err := p.repeated(first(answer.Responses[0]))
		if version == 0 && err == nil {
			err = why // an attempt of ours burned it
		}
		return version, err
	}
}
