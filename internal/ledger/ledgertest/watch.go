package ledgertest

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/verify"
)

// What the server has of streams by numbers.
const (
	maxWatches  = 1000   // of a node
	maxReplayed = 10_000 // blocks, the newest
	watchBuffer = 1024   // announcements that a reader may be behind
)

// watch is one stream of announcements. The cluster's lock guards it, but for its channel.
type watch struct {
	n      *Node
	ids    verify.IDs
	live   chan *ledgerpb.BlockAnnouncement // closed when the stream has to end
	behind bool                             // that is because its reader was too slow
}

// watchBlocks announces what was archived from a height on, then blocks as they come.
func (n *Node) watchBlocks(ctx context.Context, r *ledgerpb.WatchBlocksRequest, stream grpc.ServerStream) error {
	w, replayed, err := n.beginWatch(r)
	if err != nil {
		return err
	}
	defer n.c.endWatch(w)
	if err := stream.SendHeader(metadata.Pairs("x-ledger-api-version", "1")); err != nil {
		return err
	}
	send := func(a *ledgerpb.BlockAnnouncement) error {
		if err := errors.Join(n.hang(ctx), n.held(ctx)); err != nil {
			return err
		}
		n.distort(a)
		return stream.SendMsg(a)
	}
	for _, a := range replayed {
		if err := send(a); err != nil {
			return err
		}
	}
	for {
		select {
		case a, ok := <-w.live:
			if !ok {
				return n.endOf(w)
			}
			if err := send(a); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// beginWatch registers a stream, and returns what it begins with.
func (n *Node) beginWatch(r *ledgerpb.WatchBlocksRequest) (w *watch, replayed []*ledgerpb.BlockAnnouncement, _ error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	v, err := n.led(r.Organization, r.Vault)
	if err != nil {
		return nil, nil, err
	}
	if r.StartHeight == 0 {
		return nil, nil, plainly(codes.InvalidArgument, "start_height must be at least 1")
	}
	of := 0
	for w := range n.c.watches {
		if w.n == n {
			of++
		}
	}
	if of >= maxWatches {
		return nil, nil, plainly(codes.ResourceExhausted, "too many streams")
	}
	from := r.StartHeight
	if v.height >= maxReplayed {
		from = max(from, v.height-maxReplayed+1)
	}
	for h := from; h <= v.height; h++ {
		if b := v.blocks[h]; b != nil {
			replayed = append(replayed, announcement(v, h, n.c.names[v.ids]))
		}
	}
	w = &watch{n: n, ids: v.ids, live: make(chan *ledgerpb.BlockAnnouncement, watchBuffer)}
	n.c.watches[w] = struct{}{}
	return w, replayed, nil
}

// announcement returns the announcement of a block, whose hashes are left out where it was
// not archived.
func announcement(v *vault, height, slug uint64) *ledgerpb.BlockAnnouncement {
	a := &ledgerpb.BlockAnnouncement{Organization: &ledgerpb.OrganizationSlug{Slug: uint64(v.ids.Organization)}, Vault: &ledgerpb.VaultSlug{Slug: slug}, Height: height}
	if b := v.blocks[height]; b != nil {
		a.BlockHash, a.StateRoot, a.Timestamp = clone(b.Header.BlockHash), clone(b.Header.StateRoot), b.Header.Timestamp
	}
	return a
}

// announce sends the vault's height to the streams of the node that accepted a write.
// Of writes that are done together, only the last is announced; the cluster must be locked.
func (n *Node) announce(v *vault) {
	if v.height == v.announced || n.c.writing.Load() > 1 {
		return
	}
	v.announced = v.height
	n.mu.Lock()
	mute := n.faults.mute
	n.mu.Unlock()
	if mute {
		return
	}
	for w := range n.c.watches {
		if w.n != n || w.ids != v.ids || w.behind {
			continue
		}
		select {
		case w.live <- announcement(v, v.height, n.c.names[v.ids]):
		default:
			w.behind = true
			close(w.live)
			delete(n.c.watches, w)
		}
	}
}

func (c *Cluster) endWatch(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watches, w)
}

// endOf returns how a stream ends that was closed.
func (n *Node) endOf(w *watch) error {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if w.behind {
		return plainly(codes.Internal, "Stream error")
	}
	return nil
}

// HoldWatches has the streams of the node send nothing, and keep what comes, as far as they can.
func (n *Node) HoldWatches(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.holds != nil {
		close(n.holds)
		n.holds = nil
	}
	if on {
		n.holds = make(chan struct{})
	}
}

// held waits while streams are held.
func (n *Node) held(ctx context.Context) error {
	n.mu.Lock()
	holds := n.holds
	n.mu.Unlock()
	if holds == nil {
		return nil
	}
	select {
	case <-holds:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// EndWatches ends all streams of the node, as if there was nothing more to come.
func (n *Node) EndWatches() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	for w := range n.c.watches {
		if w.n == n {
			close(w.live)
			delete(n.c.watches, w)
		}
	}
}

// Watches returns the number of streams of announcements.
func (n *Node) Watches() (count int) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	for w := range n.c.watches {
		if w.n == n {
			count++
		}
	}
	return count
}

// Mute has the node announce nothing: its streams stay, and are silent.
func (n *Node) Mute(on bool) { n.fault(func(f *faults) { f.mute = on }) }
