package verify

import (
	"errors"
	"fmt"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// ErrMismatch reports content that differs from its hash.
var ErrMismatch = errors.New("a hash does not match")

// Transactions checks that the transactions of a block are those that its header commits to. A
// compacted block cannot be checked, because it has none.
func Transactions(b *ledgerpb.Block) error {
	leaves := make([]Hash, len(b.GetTransactions()))
	for i, tx := range b.GetTransactions() {
		leaves[i] = Transaction(tx, 0)
	}
	if !same(Root(leaves), b.GetHeader().GetTxMerkleRoot()) {
		return fmt.Errorf("block %d: its transactions are not those of its header: %w", b.GetHeader().GetHeight(), ErrMismatch)
	}
	return nil
}

// same compares a hash with one from the wire.
func same(h Hash, wire *ledgerpb.Hash) bool {
	v := wire.GetValue()
	return len(v) == len(h) && Hash(v) == h
}

// Block checks a header against its own block_hash.
func Block(h *ledgerpb.BlockHeader, ids IDs) error {
	if !same(Entry(h, ids), h.GetBlockHash()) {
		return fmt.Errorf("block %d: it is not what its block_hash says: %w", h.GetHeight(), ErrMismatch)
	}
	return nil
}

// Anchor holds a header that was trusted before: its height, and its hash as returned by
// [Header].
type Anchor struct {
	Height uint64
	Hash   Hash
}

// Walk holds the result of a walk along a chain.
type Walk struct {
	Tip      uint64   // the height it began at
	Verified []uint64 // heights of the headers that the tip commits to, from the tip down
	// Missing lists heights in between for which the server returned no header. Of writes that
	// it combined it keeps the last: that is no sign of tampering.
	Missing []uint64
	// Aside lists heights of headers that the tip does not commit to.
	Aside []uint64
	// Anchored: the walk reached the anchor. Begun: it reached the first block.
	Anchored, Begun bool
}

// Chain walks from the highest header back over previous_hash. An error is a header
// that does not fit its own block_hash, or an anchor of the range that the chain does
// not contain. nil anchor: none is known.
func Chain(headers []*ledgerpb.BlockHeader, ids IDs, anchor *Anchor) (Walk, error) {
	byHash := make(map[Hash]*ledgerpb.BlockHeader, len(headers))
	var tip *ledgerpb.BlockHeader
	lowest := uint64(0)
	for _, h := range headers {
		if err := Block(h, ids); err != nil {
			return Walk{}, err
		}
		byHash[Header(h, ids)] = h
		if tip == nil || h.GetHeight() > tip.GetHeight() {
			tip = h
		}
		if lowest == 0 || h.GetHeight() < lowest {
			lowest = h.GetHeight()
		}
	}
	if tip == nil {
		return Walk{}, nil
	}
	w := Walk{Tip: tip.GetHeight()}
	on := map[uint64]bool{}
	for h := tip; h != nil; {
		w.Verified = append(w.Verified, h.GetHeight())
		on[h.GetHeight()] = true
		if anchor != nil && h.GetHeight() == anchor.Height {
			if Header(h, ids) != anchor.Hash {
				return w, fmt.Errorf("block %d: it is not the one that was trusted: %w", h.GetHeight(), ErrMismatch)
			}
			w.Anchored = true
		}
		previous := h.GetPreviousHash().GetValue()
		if len(previous) != len(Hash{}) {
			return w, fmt.Errorf("block %d: its previous_hash is no hash: %w", h.GetHeight(), ErrMismatch)
		}
		if anchor != nil && Hash(previous) == anchor.Hash && h.GetHeight() > anchor.Height {
			w.Anchored = true
		}
		if Hash(previous) == (Hash{}) {
			w.Begun = true
			break
		}
		next := byHash[Hash(previous)]
		if next != nil && next.GetHeight() >= h.GetHeight() {
			return w, fmt.Errorf("block %d: its predecessor is not before it: %w", h.GetHeight(), ErrMismatch)
		}
		h = next
	}
	w.gaps(headers, on, lowest)
	if anchor != nil && !w.Anchored && anchor.Height >= lowest && anchor.Height <= w.Tip {
		return w, fmt.Errorf("the chain from block %d down does not contain the trusted block %d: %w", w.Tip, anchor.Height, ErrMismatch)
	}
	return w, nil
}

func (w *Walk) gaps(headers []*ledgerpb.BlockHeader, on map[uint64]bool, lowest uint64) {
	given := map[uint64]bool{}
	for _, h := range headers {
		given[h.GetHeight()] = true
		if !on[h.GetHeight()] {
			w.Aside = append(w.Aside, h.GetHeight())
		}
	}
	for height := lowest; height < w.Tip; height++ {
		if !given[height] {
			w.Missing = append(w.Missing, height)
		}
	}
}
