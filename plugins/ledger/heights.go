package ledger

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// heights tracks the vault's heights in the nodes' answers. The height only grows as long as
// the cluster loses nothing, so a node that reports less than was seen before is behind. A
// node that wrongly takes itself for the leader may be behind without knowing it. No node
// counts as behind before reads have once reported the same heights as writes, nor does the
// node that accepted the last write, unless it has failed since: it has applied that write,
// whatever height it reports. Height 0 is wrong once anything was written: a restarted, empty
// node reports it.
type heights struct {
	mu     sync.Mutex
	wrote  uint64 // of the last write that was acknowledged
	seen   uint64 // the highest of any answer
	armed  bool
	taker  *node  // accepted the last write, and has not failed since; or nil
	dialed uint32 // how often the taker had been dialed then
	resets uint64 // how often what was seen was given up
	broken bool   // a height was acknowledged twice since then
}

// own has what one node has reported since a reset.
type own struct{ acked, read, resets uint64 }

// own returns what n has reported, which the caller may change. The lock is held.
func (h *heights) own(n *node) *own {
	if n.told.resets != h.resets {
		n.told = own{resets: h.resets}
	}
	return &n.told
}

// mark is what was seen at a moment.
type mark struct{ height, resets uint64 }

func (h *heights) mark() mark {
	h.mu.Lock()
	defer h.mu.Unlock()
	return mark{h.seen, h.resets}
}

// before returns what an acknowledgement of n to a write that is sent now must exceed.
func (h *heights) before(n *node) (o own, m mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o = *h.own(n); !h.armed {
		o.read = 0
	}
	return o, mark{h.seen, h.resets}
}

// acknowledged notes the height of a write that n accepted. fits reports whether it is above
// what n had reported before the write was sent. again says that it may be the height of an
// earlier attempt. back reports that the heights of the cluster have gone back.
func (h *heights) acknowledged(n *node, height uint64, o own, m mark, again bool) (fits, back bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := m.resets == h.resets // what was seen then still counts
	fits = height > 0 && (again || !since || height > max(o.acked, o.read))
	back = !fits || !again && h.armed && since && height <= m.height
	h.broken = h.broken || back
	is := h.own(n)
	if is.acked = max(is.acked, height); !fits { // it begins again from there
		is.acked, is.read = height, 0
		return fits, back
	}
	if height >= h.wrote || back {
		h.taker, h.dialed = n, n.dials.Load()
	}
	h.wrote, h.seen = max(h.wrote, height), max(h.seen, height)
	return fits, back
}

// failed notes that n could not be reached: it may come back with less.
func (h *heights) failed(n *node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taker == n {
		h.taker = nil
	}
}

// behind notes the height of a read of n that began at m, and reports whether it is of
// an earlier state. Any state but none is good enough where the read is not linearizable.
func (h *heights) behind(n *node, height uint64, m mark, linearizable bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.own(n).read = height
	switch {
	case height == 0:
		return h.seen > 0
	case !linearizable:
		return false
	}
	if h.wrote > 0 && height >= h.wrote {
		h.armed = true
	}
	if m.resets == h.resets && height < m.height {
		return h.armed && !h.took(n)
	}
	h.seen = max(h.seen, height)
	return false
}

// took reports whether n took the last write and was there ever since.
func (h *heights) took(n *node) bool { return h.taker == n && h.dialed == n.dials.Load() }

// enough reports whether n, at a height, has what was acknowledged.
func (h *heights) enough(n *node, height uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return height > 0 && (height >= h.seen || h.took(n))
}

// reset gives up what was seen for a height that the cluster has.
func (h *heights) reset(height uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resets++
	h.seen, h.wrote, h.broken = height, min(h.wrote, height), false
}

// raise notes a height that a node has reported.
func (h *heights) raise(height uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = max(h.seen, height)
}

// twice reports whether a height was acknowledged twice since the last reset.
func (h *heights) twice() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.broken
}

// known returns the latest height of each of nodes, in words.
func (h *heights) known(nodes []*node) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var each []string
	for _, n := range nodes {
		if o := h.own(n); *o != (own{resets: h.resets}) {
			each = append(each, fmt.Sprintf("%s at %d", n.name, max(o.acked, o.read)))
		}
	}
	return fmt.Sprintf("height %d was acknowledged, the nodes last told: %s", h.seen, strings.Join(each, ", "))
}

// heighted has the vault's height.
type heighted interface{ GetBlockHeight() uint64 }

// stale returns the failure of a read that n answered from an earlier state, or nil if it did not.
func (b *Backend) stale(ctx context.Context, n *node, c ledgerpb.ReadConsistency, answer any, m mark) *failure {
	h, ok := answer.(heighted)
	if !ok || c == unspecified {
		return nil
	}
	if h.GetBlockHeight() == 0 && m.height == 0 && len(b.pool.all()) > 1 {
		b.fresh.Do(func() { b.survey(ctx) }) // a vault without a block, or a node without the vault
	}
	if !b.heights.behind(n, h.GetBlockHeight(), m, c == consistency) {
		return nil
	}
	b.watchLoss()
	f := &failure{sent: true, answered: true, stale: true, heights: b.heights.known(b.pool.all())}
	f.Endpoint, f.Code, f.Message = n.name, codes.Unavailable, "the answer is of an earlier state than one before"
	return f
}
