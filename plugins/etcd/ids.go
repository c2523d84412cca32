package etcd

import (
	"crypto/sha256"
	"encoding/binary"

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

// burn has no attempt be done that is still on its way, and then answers why; where one was
// done it answers its version.
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

// digestOf is a hash of all that w says, each part with its length before it.
func digestOf(w *storage.WriteSet) [16]byte {
	h := sha256.New()
	var n [8]byte
	number := func(v uint64) {
		binary.BigEndian.PutUint64(n[:], v)
		h.Write(n[:])
	}
	part := func(b []byte) { // nil, an unbounded end, is not empty
		if b == nil {
			number(0)
			return
		}
		number(uint64(len(b)) + 1)
		h.Write(b)
	}
	number(uint64(len(w.Checks)))
	for i := range w.Checks {
		c := &w.Checks[i]
		number(uint64(c.Kind))
		number(c.Version)
		part(c.Key)
		part(c.End)
		part(c.Value)
	}
	for i := range w.Ops {
		o := &w.Ops[i]
		number(uint64(o.Kind))
		number(uint64(millis(o.ExpiresAt)))
		part(o.Key)
		part(o.End)
		part(o.Value)
	}
	return [16]byte(h.Sum(nil))
}
