package ledgertest

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
)

// vault finds the vault that a request is about; the cluster must be locked. The two
// slugs are looked up one without the other: a pair that does not belong together
// is another vault, if there is one with those numbers.
func (n *Node) vault(organization *ledgerpb.OrganizationSlug, slug *ledgerpb.VaultSlug) (*vault, error) {
	switch {
	case organization == nil:
		return nil, plainly(codes.InvalidArgument, "Missing organization")
	case slug == nil:
		return nil, plainly(codes.InvalidArgument, "Missing vault")
	case organization.Slug == 0:
		return nil, plainly(codes.InvalidArgument, "organization must be non-zero")
	case slug.Slug == 0:
		return nil, plainly(codes.InvalidArgument, "vault must be non-zero")
	}
	if n.c.forgot {
		return newVault(verify.IDs{}), nil
	}
	org, ok := n.c.organizations[organization.Slug]
	if !ok {
		return nil, plainly(codes.NotFound, "organization not found")
	}
	ids, ok := n.c.slugs[slug.Slug]
	if !ok || ids.Organization != org && !n.c.quirks.UncheckedVault {
		return nil, plainly(codes.NotFound, "vault not found")
	}
	ids.Organization = org
	vaults := n.c.vaults
	if own := n.own(); own != nil {
		vaults = own
	}
	v := vaults[ids]
	if v == nil {
		return nil, plainly(codes.NotFound, "vault not found")
	}
	return v, nil
}

// led returns the vault for requests that only the leader answers.
func (n *Node) led(organization *ledgerpb.OrganizationSlug, slug *ledgerpb.VaultSlug) (*vault, error) {
	v, err := n.vault(organization, slug)
	if err == nil {
		err = n.leads()
	}
	return v, err
}

// visible returns the entity at key as reads have it, or nil if there is none.
func (n *Node) visible(v *vault, key string) *ledgerpb.Entity {
	if e := v.get(key); e != nil && !expired(e, n.c.clock()) {
		return e
	}
	return nil
}

func (n *Node) read(_ context.Context, r *ledgerpb.ReadRequest) (*ledgerpb.ReadResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.vault(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	answer := &ledgerpb.ReadResponse{BlockHeight: v.height}
	if e := n.visible(v, r.Key); e != nil {
		answer.Value = present(e.Value)
	}
	return answer, nil
}

// present returns a value that is there, also if it is empty.
func present(value []byte) []byte { return append([]byte{}, value...) }

func (n *Node) batchRead(_ context.Context, r *ledgerpb.BatchReadRequest) (*ledgerpb.BatchReadResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.vault(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	if len(r.Keys) > maxBatch {
		return nil, plainly(codes.InvalidArgument, "too many keys")
	}
	answer := &ledgerpb.BatchReadResponse{BlockHeight: v.height}
	for _, key := range r.Keys {
		result := &ledgerpb.BatchReadResult{Key: key}
		if e := n.visible(v, key); e != nil {
			result.Found, result.Value = true, present(e.Value)
		}
		answer.Results = append(answer.Results, result)
	}
	return answer, nil
}

// verifiedRead hides nothing that has expired, looks at no height, and proves nothing.
func (n *Node) verifiedRead(_ context.Context, r *ledgerpb.VerifiedReadRequest) (*ledgerpb.VerifiedReadResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.vault(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	answer := &ledgerpb.VerifiedReadResponse{BlockHeight: v.height}
	if n.c.quirks.EmptyProofs {
		answer.MerkleProof = &ledgerpb.MerkleProof{}
	}
	if b := v.blocks[v.height]; b != nil {
		answer.BlockHeader = clone(b.Header)
	}
	if e := v.get(r.Key); e != nil {
		answer.Value = present(e.Value)
	}
	return answer, nil
}

// historicalRead does over again what the blocks say up to a height.
func (n *Node) historicalRead(_ context.Context, r *ledgerpb.HistoricalReadRequest) (*ledgerpb.HistoricalReadResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.led(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	if r.AtHeight == 0 || r.AtHeight > v.height {
		return nil, plainly(codes.InvalidArgument, "at_height is not a height of the vault")
	}
	past := newVault(v.ids)
	answer := &ledgerpb.HistoricalReadResponse{BlockHeight: r.AtHeight}
	at := n.c.clock()
	for h := uint64(1); h <= r.AtHeight; h++ {
		b := v.blocks[h]
		if b == nil {
			continue
		}
		for _, tx := range b.Transactions {
			for _, op := range tx.Operations {
				past.do(op, h)
			}
		}
		if at = b.Header.Timestamp.AsTime(); h == r.AtHeight {
			answer.BlockHeader = clone(b.Header)
		}
	}
	if e := past.get(r.Key); e != nil && !expired(e, at) {
		answer.Value = present(e.Value)
	}
	return answer, nil
}

func clone[M proto.Message](m M) M { return proto.Clone(m).(M) }

func (n *Node) getBlock(_ context.Context, r *ledgerpb.GetBlockRequest) (*ledgerpb.GetBlockResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.led(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	answer := &ledgerpb.GetBlockResponse{}
	if b := v.blocks[r.Height]; b != nil {
		answer.Block = clone(b)
	}
	return answer, nil
}

func (n *Node) getBlockRange(_ context.Context, r *ledgerpb.GetBlockRangeRequest) (*ledgerpb.GetBlockRangeResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.led(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	answer := &ledgerpb.GetBlockRangeResponse{CurrentTip: v.height}
	for h := r.StartHeight; h <= min(r.EndHeight, v.height) && h < r.StartHeight+maxBlocks; h++ {
		if b := v.blocks[h]; b != nil {
			answer.Blocks = append(answer.Blocks, clone(b))
		}
	}
	return answer, nil
}

func (n *Node) getTip(_ context.Context, r *ledgerpb.GetTipRequest) (*ledgerpb.GetTipResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.led(r.Organization, r.Vault)
	if err != nil {
		return nil, err
	}
	answer := &ledgerpb.GetTipResponse{Height: v.height, StateRoot: wire(verify.StateRoot(nil)), BlockHash: wire(verify.Hash{})}
	if b := v.blocks[v.height]; b != nil {
		answer.BlockHash, answer.StateRoot = clone(b.Header.BlockHash), clone(b.Header.StateRoot)
	} else if v.height > 0 && n.c.quirks.Unarchived {
		answer.BlockHash, answer.StateRoot = nil, nil
	}
	return answer, nil
}
