package ledgertest

import (
	"iter"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
)

// vault is one at one moment. The cluster's lock guards it.
type vault struct {
	ids     verify.IDs
	buckets [verify.Buckets][]*ledgerpb.Entity // each in the order of keys; entities are never changed
	roots   []verify.Hash                      // of the buckets
	height  uint64
	// announced is the last height that streams were notified of.
	announced uint64
	blocks    map[uint64]*ledgerpb.Block
	last      verify.Hash // of the last header

	removed [verify.Buckets]int // bytes that deletes took out of a bucket since it was last put to
}

func newVault(ids verify.IDs) *vault {
	v := &vault{ids: ids, roots: make([]verify.Hash, verify.Buckets), blocks: map[uint64]*ledgerpb.Block{}}
	for i := range v.roots {
		v.roots[i] = verify.Empty()
	}
	return v
}

// frozen returns a copy that does not change with v.
func (v *vault) frozen() *vault {
	own := *v
	for i := range own.buckets {
		own.buckets[i] = slices.Clone(v.buckets[i])
	}
	own.roots = slices.Clone(v.roots)
	own.blocks = make(map[uint64]*ledgerpb.Block, len(v.blocks))
	for h, b := range v.blocks {
		own.blocks[h] = b
	}
	return &own
}

func find(bucket []*ledgerpb.Entity, key string) (int, bool) {
	return slices.BinarySearchFunc(bucket, key, func(e *ledgerpb.Entity, key string) int { return strings.Compare(e.Key, key) })
}

// get returns the entity at key, expired or not, or nil if there is none.
func (v *vault) get(key string) *ledgerpb.Entity {
	bucket := v.buckets[verify.Bucket(key)]
	if i, ok := find(bucket, key); ok {
		return bucket[i]
	}
	return nil
}

func (v *vault) put(e *ledgerpb.Entity) {
	n := verify.Bucket(e.Key)
	if i, ok := find(v.buckets[n], e.Key); ok {
		v.buckets[n][i] = e
	} else {
		v.buckets[n] = slices.Insert(v.buckets[n], i, e)
	}
	v.roots[n] = verify.Hash{} // to be made again
	v.removed[n] = 0
}

func (v *vault) remove(key string) {
	n := verify.Bucket(key)
	if i, ok := find(v.buckets[n], key); ok {
		v.removed[n] += len(key) + len(v.buckets[n][i].Value)
		v.buckets[n] = slices.Delete(v.buckets[n], i, i+1)
		v.roots[n] = verify.Hash{}
	}
}

func (v *vault) stateRoot() verify.Hash {
	for i, root := range v.roots {
		if root == (verify.Hash{}) {
			v.roots[i] = verify.BucketRoot(v.buckets[i])
		}
	}
	return verify.RootOf(v.roots)
}

// expired reports whether an entity is hidden from reads at now.
func expired(e *ledgerpb.Entity, now time.Time) bool {
	return e.GetExpiresAt() != 0 && e.GetExpiresAt() <= uint64(max(now.Unix(), 0))
}

// all returns the entities in the order in which the server has them.
func (v *vault) all(byBucket bool) []*ledgerpb.Entity {
	n := 0
	for _, b := range v.buckets {
		n += len(b)
	}
	all := make([]*ledgerpb.Entity, 0, n)
	for _, b := range v.buckets {
		all = append(all, b...)
	}
	if !byBucket {
		slices.SortFunc(all, func(a, b *ledgerpb.Entity) int { return strings.Compare(a.Key, b.Key) })
	}
	return all
}

// walk hands over the entities after the one called after, which need not be there any
// more. If it is empty, all.
func (v *vault) walk(byBucket bool, after string) iter.Seq[*ledgerpb.Entity] {
	return func(yield func(*ledgerpb.Entity) bool) {
		if !byBucket {
			all := v.all(false)
			i, found := find(all, after)
			if found {
				i++
			}
			for _, e := range all[i:] {
				if !yield(e) {
					return
				}
			}
			return
		}
		from, i := 0, 0
		if after != "" {
			var found bool
			from = verify.Bucket(after)
			if i, found = find(v.buckets[from], after); found {
				i++
			}
		}
		for n := from; n < len(v.buckets); n, i = n+1, 0 {
			for _, e := range v.buckets[n][i:] {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// emptied returns where a list ends that goes over pages in the order of buckets: at the
// first page, taken for a bucket here, that deletes have emptied. Without one it is
// beyond the last bucket.
func (v *vault) emptied() int {
	for n := range v.buckets {
		if len(v.buckets[n]) == 0 && v.removed[n] >= pageSize {
			return n
		}
	}
	return len(v.buckets)
}

// unarchive forgets a block that is too large to be kept.
func (v *vault) unarchive(height uint64) {
	if b := v.blocks[height]; b != nil && proto.Size(b) > maxArchived {
		delete(v.blocks, height)
	}
}

// collect removes expired entities as the server's own job does: not all.
func (v *vault) collect(now time.Time) {
	var gone []string
	for i, e := range v.all(true) {
		if i >= collectLook || len(gone) >= collectMost {
			break
		}
		if expired(e, now) {
			gone = append(gone, e.Key)
		}
	}
	for _, key := range gone {
		v.remove(key)
	}
}

// seal makes a block of a transaction that was applied.
func (v *vault) seal(tx *ledgerpb.Transaction, vaultSlug, term uint64, leader string) *ledgerpb.BlockHeader {
	root, tree := v.stateRoot(), verify.Root([]verify.Hash{verify.Transaction(tx, 0)})
	previous := v.last
	h := &ledgerpb.BlockHeader{Height: v.height, Organization: &ledgerpb.OrganizationSlug{Slug: uint64(v.ids.Organization)},
		Vault: &ledgerpb.VaultSlug{Slug: vaultSlug}, PreviousHash: wire(previous), TxMerkleRoot: wire(tree), StateRoot: wire(root),
		Timestamp: tx.Timestamp, LeaderId: &ledgerpb.NodeId{Id: leader}, Term: term, CommittedIndex: v.height}
	h.BlockHash = wire(verify.Entry(h, v.ids))
	v.last = verify.Header(h, v.ids)
	v.blocks[v.height] = &ledgerpb.Block{Header: h, Transactions: []*ledgerpb.Transaction{tx}}
	return h
}

func wire(h verify.Hash) *ledgerpb.Hash { return &ledgerpb.Hash{Value: h[:]} }

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }
