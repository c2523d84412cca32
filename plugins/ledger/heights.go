package ledger

import (
	"sync/atomic"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/plugins/ledger/ledgerpb"
)

// heights are what answers say of the vault's height, which only grows: a node that
// answers less than was seen before is behind. One that takes itself for the leader
// although another is may be so, and would not know. Nothing is held against a node
// before it was seen once that reads tell heights as writes do.
type heights struct {
	wrote atomic.Uint64 // of the last write that was acknowledged
	seen  atomic.Uint64 // the highest of any answer
	armed atomic.Bool
}

func raise(to *atomic.Uint64, h uint64) {
	for {
		have := to.Load()
		if h <= have || to.CompareAndSwap(have, h) {
			return
		}
	}
}

// acknowledged notes the height of a write.
func (h *heights) acknowledged(height uint64) {
	raise(&h.wrote, height)
	raise(&h.seen, height)
}

// behind notes the height of a read that began when least was the highest seen, and
// tells whether it is of an earlier state.
func (h *heights) behind(height, least uint64) bool {
	if wrote := h.wrote.Load(); wrote > 0 && height >= wrote {
		h.armed.Store(true)
	}
	if height < least {
		return h.armed.Load()
	}
	raise(&h.seen, height)
	return false
}

// heighted is an answer that tells the vault's height.
type heighted interface{ GetBlockHeight() uint64 }

// stale is the failure of a read that n answered from an earlier state; nil: it did
// not. What any node has is good enough for reads that are not linearizable.
func (b *Backend) stale(n *node, c ledgerpb.ReadConsistency, answer any, least uint64) *failure {
	h, ok := answer.(heighted)
	if !ok || c != consistency || !b.heights.behind(h.GetBlockHeight(), least) {
		return nil
	}
	f := &failure{sent: true, answered: true, stale: true}
	f.Endpoint, f.Code, f.Message = n.name, codes.Unavailable, "the answer is of an earlier state than one before"
	return f
}
