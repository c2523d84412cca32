package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// Hash holds a SHA-256.
type Hash = [sha256.Size]byte

// Empty returns the hash of nothing: the root of no transactions, and of a bucket without
// entities.
func Empty() Hash { return sha256.Sum256(nil) }

// writer puts fields of fixed width and texts with their length into a hash.
type writer struct{ hash.Hash }

func newWriter() writer { return writer{sha256.New()} }

func (w writer) bytes(b []byte) { _, _ = w.Write(b) } // a hash takes all

func (w writer) byte(b byte)       { w.bytes([]byte{b}) }
func (w writer) u64be(v uint64)    { w.bytes(binary.BigEndian.AppendUint64(nil, v)) }
func (w writer) u32be(v uint32)    { w.bytes(binary.BigEndian.AppendUint32(nil, v)) }
func (w writer) u32le(v uint32)    { w.bytes(binary.LittleEndian.AppendUint32(nil, v)) }
func (w writer) i64le(v int64)     { w.bytes(binary.LittleEndian.AppendUint64(nil, uint64(v))) }
func (w writer) text(s string)     { w.lengthed([]byte(s)) }
func (w writer) lengthed(b []byte) { w.u32le(uint32(len(b))); w.bytes(b) }

func (w writer) sum() (h Hash) {
	w.Sum(h[:0])
	return h
}

// Transaction returns the leaf of a transaction in the tree of its block, with the given
// sequence. The server computes roots before it assigns a sequence: in its roots, the
// sequence is 0.
func Transaction(tx *ledgerpb.Transaction, sequence uint64) Hash {
	w := newWriter()
	id := make([]byte, 16)
	copy(id, tx.GetId().GetId())
	w.bytes(id)
	w.text(tx.GetClientId().GetId())
	w.u64be(sequence)
	w.u32le(uint32(len(tx.GetOperations())))
	for _, op := range tx.GetOperations() {
		w.operation(op)
	}
	w.u64be(uint64(tx.GetTimestamp().GetSeconds()))
	w.u32be(uint32(tx.GetTimestamp().GetNanos()))
	return w.sum()
}

func (w writer) operation(op *ledgerpb.Operation) {
	switch o := op.GetOp().(type) {
	case *ledgerpb.Operation_CreateRelationship:
		w.relationship(1, o.CreateRelationship)
	case *ledgerpb.Operation_DeleteRelationship:
		w.relationship(2, o.DeleteRelationship)
	case *ledgerpb.Operation_SetEntity:
		w.byte(3)
		w.text(o.SetEntity.GetKey())
		w.lengthed(o.SetEntity.GetValue())
		w.condition(o.SetEntity.GetCondition())
		w.u64be(o.SetEntity.GetExpiresAt())
	case *ledgerpb.Operation_DeleteEntity:
		w.byte(4)
		w.text(o.DeleteEntity.GetKey())
	case *ledgerpb.Operation_ExpireEntity:
		w.byte(5)
		w.text(o.ExpireEntity.GetKey())
		w.u64be(o.ExpireEntity.GetExpiredAt())
	}
}

func (w writer) relationship(tag byte, r interface {
	GetResource() string
	GetRelation() string
	GetSubject() string
}) {
	w.byte(tag)
	w.text(r.GetResource())
	w.text(r.GetRelation())
	w.text(r.GetSubject())
}

func (w writer) condition(c *ledgerpb.SetCondition) {
	not := func(b bool, yes, no byte) {
		if b {
			w.byte(yes)
		} else {
			w.byte(no)
		}
	}
	switch k := c.GetCondition().(type) {
	case *ledgerpb.SetCondition_NotExists:
		not(k.NotExists, 1, 2)
	case *ledgerpb.SetCondition_MustExists:
		not(k.MustExists, 2, 1)
	case *ledgerpb.SetCondition_Version:
		w.byte(3)
		w.u64be(k.Version)
	case *ledgerpb.SetCondition_ValueEquals:
		w.byte(4)
		w.lengthed(k.ValueEquals)
	default:
		w.byte(0)
	}
}

// Root returns the root of a block's tree over its leaves: a parent is the hash of its two
// children, and an odd leaf moves up unchanged.
func Root(leaves []Hash) Hash {
	if len(leaves) == 0 {
		return Empty()
	}
	for len(leaves) > 1 {
		var up []Hash
		for i := 0; i < len(leaves); i += 2 {
			if i+1 == len(leaves) {
				up = append(up, leaves[i])
				break
			}
			up = append(up, sha256.Sum256(append(leaves[i][:], leaves[i+1][:]...)))
		}
		leaves = up
	}
	return leaves[0]
}

// IDs holds the server's numbers of an organization and a vault. Headers and their hashes
// have them in place of the slugs.
type IDs struct{ Organization, Vault int64 }

// Header returns the hash of a header that its successor has as previous_hash.
func Header(h *ledgerpb.BlockHeader, ids IDs) Hash {
	w := newWriter()
	w.u64be(h.GetHeight())
	w.u64be(uint64(ids.Organization))
	w.u64be(uint64(ids.Vault))
	w.roots(h)
	w.u64be(uint64(h.GetTimestamp().GetSeconds()))
	w.u32be(uint32(h.GetTimestamp().GetNanos()))
	w.u64be(h.GetTerm())
	w.u64be(h.GetCommittedIndex())
	return w.sum()
}

// Entry returns the hash of a header that the header itself has as block_hash.
func Entry(h *ledgerpb.BlockHeader, ids IDs) Hash {
	w := newWriter()
	w.i64le(ids.Organization)
	w.i64le(ids.Vault)
	w.u64be(h.GetHeight())
	w.roots(h)
	return w.sum()
}

func (w writer) roots(h *ledgerpb.BlockHeader) {
	for _, part := range []*ledgerpb.Hash{h.GetPreviousHash(), h.GetTxMerkleRoot(), h.GetStateRoot()} {
		var fixed Hash
		copy(fixed[:], part.GetValue())
		w.bytes(fixed[:])
	}
}
