package ledger

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
	"github.com/plinthkv/plinth/storage"
)

// Tip describes the newest block of the vault.
type Tip struct {
	Height    uint64      // 0 if there is no block yet
	BlockHash verify.Hash // as [verify.Entry] has it
	StateRoot verify.Hash // zero, as BlockHash: the server did not archive the block, and has none
}

// Tip asks the leader for the newest block.
func (b *Backend) Tip(ctx context.Context) (Tip, error) {
	answer := new(ledgerpb.GetTipResponse)
	if err := b.extra(ctx, "tip", methodGetTip, &ledgerpb.GetTipRequest{Organization: b.organization, Vault: b.vault}, answer); err != nil {
		return Tip{}, err
	}
	t := Tip{Height: answer.Height}
	copy(t.BlockHash[:], answer.BlockHash.GetValue())
	copy(t.StateRoot[:], answer.StateRoot.GetValue())
	return t, nil
}

// Block asks the leader for the block at a height, from 1. A height without one is
// ErrNotFound: of writes that the server takes together it keeps the last block.
func (b *Backend) Block(ctx context.Context, height uint64) (*ledgerpb.Block, error) {
	answer := new(ledgerpb.GetBlockResponse)
	request := &ledgerpb.GetBlockRequest{Organization: b.organization, Vault: b.vault, Height: height}
	if err := b.extra(ctx, "block", methodGetBlock, request, answer); err != nil {
		return nil, err
	}
	if answer.Block == nil {
		return nil, &storage.Error{Code: storage.NotFound, Layer: layer, Op: "block", Msg: "there is no block at that height"}
	}
	return answer.Block, nil
}

// blocksAtOnce is how many heights the server looks at for one request.
const blocksAtOnce = 1000

// Blocks asks the leader for the blocks from one height to another, both included,
// and hands them over in order; heights without one are left out. An error of each
// ends it.
func (b *Backend) Blocks(ctx context.Context, from, to uint64, each func(*ledgerpb.Block) error) error {
	step := uint64(blocksAtOnce)
	for from = max(from, 1); from <= to; {
		last := min(to, from+step-1)
		request := &ledgerpb.GetBlockRangeRequest{Organization: b.organization, Vault: b.vault, StartHeight: from, EndHeight: last}
		answer := new(ledgerpb.GetBlockRangeResponse)
		err := b.extra(ctx, "blocks", methodGetBlockRange, request, answer)
		if errors.Is(err, storage.ErrRangeLimit) && step > 1 { // they do not fit into a message
			step /= 2
			continue
		}
		if err != nil {
			return err
		}
		for _, block := range answer.Blocks {
			if err := each(block); err != nil {
				return err
			}
		}
		if answer.CurrentTip <= last {
			return nil
		}
		from = last + 1
	}
	return nil
}

// IDs returns the server's numbers of the organization and the vault.
func (b *Backend) IDs(ctx context.Context) (verify.IDs, error) {
	answer := new(ledgerpb.ShowVaultResponse)
	if err := b.extra(ctx, "ids", methodShowVault, &ledgerpb.ShowVaultRequest{Organization: b.organization, Vault: b.vault}, answer); err != nil {
		return verify.IDs{}, err
	}
	return verify.IDs{Organization: int64(answer.OrganizationId), Vault: int64(answer.VaultId)}, nil
}

// GetAt asks the leader what was at key at a height, by the blocks that it has: what
// was in blocks that it did not keep is missing. Expiry is judged at the block's
// time. Nothing of it is proven. A height beyond the tip is InvalidArgument.
func (b *Backend) GetAt(ctx context.Context, key []byte, height uint64) (storage.Item, *ledgerpb.BlockHeader, error) {
	if err := checkKey(key); err != nil {
		return storage.Item{}, nil, named("get_at", err)
	}
	request := &ledgerpb.HistoricalReadRequest{Organization: b.organization, Vault: b.vault, Key: entityKey(key), AtHeight: height}
	answer := new(ledgerpb.HistoricalReadResponse)
	err := b.extra(ctx, "get_at", methodHistoricalRead, request, answer)
	var server *ServerError
	switch {
	case errors.As(err, &server) && server.Code == codes.InvalidArgument:
		return storage.Item{}, nil, &storage.Error{Code: storage.InvalidArgument, Layer: layer, Op: "get_at", Err: server, Msg: "the vault has no such height"}
	case err != nil:
		return storage.Item{}, nil, err
	case answer.Value == nil:
		return storage.Item{}, answer.BlockHeader, storage.ErrNotFound
	}
	return storage.Item{Value: answer.Value}, answer.BlockHeader, nil
}

// Verified holds the result of a [Backend.VerifiedGet].
type Verified struct {
	Value  []byte // nil if the key is absent; that of an expired key may still be there
	Height uint64
	Header *ledgerpb.BlockHeader // of the block at Height, or nil if the server has none
	// Fits: the header is what its own block_hash says.
	Fits bool
	// Proven is always false, because it cannot be proven that the value is part of the
	// state which the header commits to. Why says so in words.
	Proven bool
	Why    string
}

// VerifiedGet reads a key with the server's proof. The server's proofs are empty and prove
// nothing, which the result says. Only the header can be checked.
func (b *Backend) VerifiedGet(ctx context.Context, key []byte) (Verified, error) {
	if err := checkKey(key); err != nil {
		return Verified{}, named("verified_get", err)
	}
	ids, err := b.IDs(ctx)
	if err != nil {
		return Verified{}, err
	}
	request := &ledgerpb.VerifiedReadRequest{Organization: b.organization, Vault: b.vault, Key: entityKey(key), Caller: b.caller}
	answer := new(ledgerpb.VerifiedReadResponse)
	if err := b.extra(ctx, "verified_get", methodVerifiedRead, request, answer); err != nil {
		return Verified{}, err
	}
	v := Verified{Value: answer.Value, Height: answer.BlockHeight, Header: answer.BlockHeader}
	if v.Header != nil {
		v.Fits = verify.Block(v.Header, ids) == nil
	}
	if p := answer.MerkleProof; p.GetLeafHash() == nil && len(p.GetSiblings()) == 0 {
		v.Why = "the server's proof is empty: it proves nothing about the value"
	} else {
		v.Why = "the server's proof is of no form that there is a check for"
	}
	return v, nil
}

// extra makes a call beyond those of a storage.Backend.
func (b *Backend) extra(ctx context.Context, op, method string, request, answer proto.Message) error {
	if !b.calls.Enter() {
		return errClosed(op)
	}
	defer b.calls.Leave()
	if err := storage.ContextError(ctx); err != nil {
		return named(op, err)
	}
	_, err := b.read(ctx, op, method, unspecified, request, answer)
	return err
}
