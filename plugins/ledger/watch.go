package ledger

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// Pauses between two streams of announcements, and how long a stream lasts that resets them.
const (
	firstRewatch = 20 * time.Millisecond
	mostRewatch  = time.Second
	goodWatch    = time.Second
)

// watchBlocks follows the leader's announcements of blocks while notices are in use. They are a
// hint: without them, a write of others is noticed by the next read of the height.
func (b *Backend) watchBlocks() {
	ctx, cancel := context.WithCancel(b.life)
	defer cancel()
	b.spawn(func() {
		for pause(ctx, unusedFor/4) == nil {
			if b.notices.over() {
				cancel()
			}
		}
	})
	rest := firstRewatch
	var hinted *node
	tried, hints := map[*node]int{}, 0
	for ctx.Err() == nil {
		if !b.notices.known() { // there is no height to begin at
			if pause(ctx, firstRewatch) != nil {
				return
			}
			continue
		}
		n := hinted
		if hinted = nil; n == nil {
			b.findLeader(ctx)
			n = b.pool.pick(tried)
		}
		tried[n]++
		began := time.Now()
		accepted, f := b.hear(ctx, n)
		if accepted {
			clear(tried)
			hints = 0
		}
		if accepted && time.Since(began) >= goodWatch {
			rest = firstRewatch
		}
		if leader := f.leader(); leader != "" && ctx.Err() == nil {
			b.pool.notLeader(n)
			hints++
			if hinted = b.pool.hint(leader); hinted != nil && hints <= maxHinted {
				continue
			}
		}
		if pause(ctx, rest) != nil {
			return
		}
		rest = min(2*rest, mostRewatch)
	}
}

// hear follows the announcements of n until they end, and returns whether n accepted the stream.
func (b *Backend) hear(ctx context.Context, n *node) (accepted bool, _ *failure) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := func() {}
	defer func() { ended() }()
	patience := time.AfterFunc(b.times.share(b.times.read), cancel) // with a node that does not answer
	defer patience.Stop()
	before, last := n.dials.Load(), b.notices.height()
	request := &ledgerpb.WatchBlocksRequest{Organization: b.organization, Vault: b.vault, StartHeight: last + 1, Caller: b.caller}
	answer := new(ledgerpb.BlockAnnouncement)
	accept := func() {
		if !accepted {
			accepted = true
			patience.Stop()
			b.pool.answered(n, true)
			ended = b.notices.begun(n, last, cancel)
		}
	}
	f := n.listen(ctx, methodWatchBlocks, request, answer, accept, func() {
		b.notices.announced(sight{n, answer.Height, before, n.dials.Load()}, answer.Height <= last)
		last = max(last, answer.Height)
	})
	return accepted, f
}

// listen sends one request and calls each for every answer, until an error ends the stream.
// accept is called when the request was accepted, and before each answer.
func (n *node) listen(ctx context.Context, method string, request, answer proto.Message, accept, each func()) *failure {
	ctx, _ = traced(ctx, n, method)
	desc := unary(method)
	desc.ServerStreams = true
	stream, err := n.conn().NewStream(ctx, desc, method)
	if err != nil {
		return n.failure(err, nil, nil, false)
	}
	// The end of a stream whose request could not be sent is what it receives.
	_ = stream.SendMsg(request)
	_ = stream.CloseSend()
	if header, _ := stream.Header(); header != nil { // a refusal has a trailer alone
		accept()
	}
	for {
		proto.Reset(answer)
		if err := stream.RecvMsg(answer); err != nil {
			header, _ := stream.Header()
			return n.failure(err, header, stream.Trailer(), true)
		}
		accept()
		each()
	}
}
