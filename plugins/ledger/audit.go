package ledger

import (
	"context"
	"fmt"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
	"github.com/plinthkv/plinth/storage"
)

// State holds the result of checking the whole state of the vault.
type State uint8

// The outcomes of [Backend.Audit].
const (
	// StateFits: the entities of the vault are those that its tip commits to.
	StateFits State = iota + 1
	// StateDiffers: they are not, or the server's list has left some of them out, as after
	// deletes. The server also removes expired entities without a block: after that they
	// differ until the next write, and nothing is wrong.
	StateDiffers
	// StateMoved: the vault was written to all the time, so there is no result.
	StateMoved
	// StateEmpty: there is no block yet that anything could be held against.
	StateEmpty
	// StateUnchecked: the server has no hash of its tip, whose block it did not archive.
	StateUnchecked
)

// String returns the outcome in words.
func (s State) String() string {
	switch s {
	case StateFits:
		return "the state is the one that the tip commits to"
	case StateDiffers:
		return "the state is not the one that the tip commits to: it was tampered with, or the server's list leaves entities out, or the server has removed expired entities since the last write"
	case StateMoved:
		return "the vault was written to all the time: nothing can be told"
	case StateEmpty:
		return "there is no block yet"
	case StateUnchecked:
		return "cannot be checked: the server did not archive the block of its tip and has no hash of it"
	}
	return "unknown"
}

// Audit holds the result of [Backend.Audit].
type Audit struct {
	State    State
	Tip      Tip
	Entities int // that were looked at, those of the server itself and expired ones too
}

// auditTries limits how often a vault that is written to is looked at.
const auditTries = 3

// Audit lists every entity of the vault, computes the state root and compares it
// with that of the tip. It holds the whole vault in memory meanwhile. It has a result only
// if nothing is written to the vault during the audit.
func (b *Backend) Audit(ctx context.Context) (Audit, error) {
	var a Audit
	for range auditTries {
		before, err := b.Tip(ctx)
		if err != nil {
			return Audit{}, err
		}
		if before.Height == 0 {
			return Audit{State: StateEmpty, Tip: before}, nil
		}
		if before.StateRoot == (verify.Hash{}) {
			return Audit{State: StateUnchecked, Tip: before}, nil
		}
		entities, err := b.everything(ctx)
		if err != nil {
			return Audit{}, err
		}
		after, err := b.Tip(ctx)
		if err != nil {
			return Audit{}, err
		}
		a = Audit{State: StateMoved, Tip: after, Entities: len(entities)}
		if before != after {
			continue
		}
		if a.State = StateDiffers; verify.StateRoot(entities) == after.StateRoot {
			a.State = StateFits
		}
		return a, nil
	}
	return a, nil
}

// everything returns all entities of the vault, those of the server too.
func (b *Backend) everything(ctx context.Context) (all []*ledgerpb.Entity, err error) {
	if !b.calls.Enter() {
		return nil, errClosed("audit")
	}
	defer b.calls.Leave()
	err = b.listed(ctx, "audit", consistency, func(ctx context.Context, l *lister) *failure {
		all = nil
		return l.entities(ctx, "", func(e *ledgerpb.Entity) bool {
			all = append(all, e)
			return true
		})
	})
	return all, err
}

// Report holds the result of [Backend.Verify].
type Report struct {
	IDs      verify.IDs
	From, To uint64
	Blocks   int // that the server has
	// Compacted lists heights whose blocks no longer have their transactions, so that they
	// cannot be checked.
	Compacted []uint64
	// Wrong lists blocks whose transactions are not those of their header, or whose header is
	// not what it says.
	Wrong []error
	Walk  verify.Walk
	// Broken says why the headers do not form a chain, or is nil if they do.
	Broken error
	// Anchor holds the newest header of the chain, to be trusted the next time.
	Anchor verify.Anchor
}

// Unarchived returns the number of heights without a block, which cannot be checked.
func (r *Report) Unarchived() uint64 {
	if r.To < r.From {
		return 0
	}
	return r.To - r.From + 1 - uint64(r.Blocks)
}

// OK reports whether no check failed. Without blocks that means nothing: see Unarchived.
func (r *Report) OK() bool { return len(r.Wrong) == 0 && r.Broken == nil }

// Verify checks the blocks from one height to another, both inclusive; if to is zero, up to
// the tip. Each must contain the transactions that its header commits to, and they must form
// a chain, through anchor if that is not nil.
func (b *Backend) Verify(ctx context.Context, from, to uint64, anchor *verify.Anchor) (*Report, error) {
	ids, err := b.IDs(ctx)
	if err != nil {
		return nil, err
	}
	tip, err := b.Tip(ctx)
	if err != nil {
		return nil, err
	}
	if from = max(from, 1); to == 0 || to > tip.Height {
		to = tip.Height
	}
	if from > max(to, 1) {
		return nil, &storage.Error{Code: storage.InvalidArgument, Layer: layer, Op: "verify", Msg: fmt.Sprintf("there are no heights from %d to %d", from, to)}
	}
	r := &Report{IDs: ids, From: from, To: to}
	var headers []*ledgerpb.BlockHeader
	err = b.Blocks(ctx, from, to, func(block *ledgerpb.Block) error {
		r.Blocks++
		headers = append(headers, block.GetHeader())
		if len(block.GetTransactions()) == 0 {
			r.Compacted = append(r.Compacted, block.GetHeader().GetHeight())
			return nil
		}
		if err := verify.Transactions(block); err != nil {
			r.Wrong = append(r.Wrong, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Walk, r.Broken = verify.Chain(headers, ids, anchor)
	for _, h := range headers {
		if h.GetHeight() == r.Walk.Tip && r.Broken == nil {
			r.Anchor = verify.Anchor{Height: h.GetHeight(), Hash: verify.Header(h, ids)}
		}
	}
	return r, nil
}
