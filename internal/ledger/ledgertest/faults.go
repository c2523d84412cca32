package ledgertest

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
)

// What nodes of a real cluster do when some of them are killed, each switched on for
// one node.

// faults says what is wrong with a node's answers.
type faults struct {
	empty    bool   // reads answer nothing, at height 0
	skew     uint64 // added to every height
	ackAt    uint64 // the height of the next acknowledgement; 0 for the real one
	misnamed string // the key that refusals of conditions name; if empty, the right one
	mute     bool   // no block is announced
}

// Isolate cuts the node off from the others while it takes itself for the leader: it
// continues to serve its state, and its writes fail late.
func (n *Node) Isolate() { n.part(false) }

// Alone cuts the node off from the others. It continues to serve its state and to
// acknowledge writes without a majority, which Rejoin loses.
func (n *Node) Alone() { n.part(true) }

func (n *Node) part(alone bool) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.old, n.alone = n.c.frozen(), alone
}

// Rejoin ends Isolate and Alone.
func (n *Node) Rejoin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.old, n.alone = nil, false
}

// frozen returns copies of all vaults; the cluster must be locked.
func (c *Cluster) frozen() map[verify.IDs]*vault {
	all := map[verify.IDs]*vault{}
	for ids, v := range c.vaults {
		all[ids] = v.frozen()
	}
	return all
}

// Checkpoint saves the state that [Cluster.Lose] restores.
func (c *Cluster) Checkpoint() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkpoint = c.frozen()
}

// Lose has a node start again without what was written since the checkpoint, and
// lead: all nodes follow it. The writes since then are gone.
func (c *Cluster) Lose(i int) error {
	if err := c.Node(i).Stop(); err != nil {
		return err
	}
	c.mu.Lock()
	if c.checkpoint == nil {
		c.mu.Unlock()
		return errors.New("there is no checkpoint")
	}
	c.vaults, c.checkpoint = c.checkpoint, nil
	clear(c.known)
	c.mu.Unlock()
	c.Lead(i)
	return c.Node(i).Restart()
}

// Empty makes the node answer reads with nothing, at height 0, as after a restart.
func (n *Node) Empty(on bool) { n.fault(func(f *faults) { f.empty = on }) }

// Skew makes the node report heights of its own.
func (n *Node) Skew(by uint64) { n.fault(func(f *faults) { f.skew = by }) }

// AckAt sets the height of the node's next acknowledgement.
func (n *Node) AckAt(height uint64) { n.fault(func(f *faults) { f.ackAt = height }) }

// Misname makes refusals of conditions name another key; an empty key restores the right one.
func (n *Node) Misname(key string) { n.fault(func(f *faults) { f.misnamed = key }) }

func (n *Node) fault(change func(*faults)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(&n.faults)
}

// distort makes of an answer what the node says instead.
func (n *Node) distort(answer proto.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := &n.faults
	height := func(h *uint64) {
		if *h += f.skew; f.empty {
			*h = 0
		}
	}
	switch a := answer.(type) {
	case *ledgerpb.ReadResponse:
		if height(&a.BlockHeight); f.empty {
			a.Value = nil
		}
	case *ledgerpb.BatchReadResponse:
		height(&a.BlockHeight)
		for _, r := range a.Results {
			if f.empty {
				r.Found, r.Value = false, nil
			}
		}
	case *ledgerpb.ListEntitiesResponse:
		if height(&a.BlockHeight); f.empty {
			a.Entities, a.NextPageToken = nil, ""
		}
	case *ledgerpb.BlockAnnouncement:
		a.Height += f.skew
	case *ledgerpb.WriteResponse:
		if ok := a.GetSuccess(); ok != nil {
			ok.BlockHeight += f.skew
			if f.ackAt > 0 {
				ok.BlockHeight, f.ackAt = f.ackAt, 0
			}
		} else if e := a.GetError(); f.misnamed != "" && e.GetKey() != "" {
			e.Key = f.misnamed
		}
	}
}

// own returns the state that only the node serves, or nil if it serves that of the cluster.
func (n *Node) own() map[verify.IDs]*vault {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.old
}

// cutOff reports whether writes of the node come to nothing.
func (n *Node) cutOff() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.old != nil && !n.alone
}
