package ledger

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
)

// Pauses between two streams of announcements, and how long one lasts that was a good one.
const (
	firstRewatch = 20 * time.Millisecond
	mostRewatch  = time.Second
	goodWatch    = time.Second
)

// watchBlocks has the leader announce blocks, for as long as somebody asks for notices. It is
// a hint: without it, a write of others is noticed when the height is read next.
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
		if !b.notices.known() { // where would it begin
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

// hear has n announce blocks until that ends, and tells whether n took it for a leader's.
func (b *Backend) hear(ctx context.Context, n *node) (accepted bool, _ *failure) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := func() {}
	defer func() { ended() }()
	patience := time.AfterFunc(b.times.share(b.times.read), cancel) // with who does not answer at all
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

// listen sends one request, and hands over every answer until an error ends them. accept is
// called when the request was accepted, and before each answer.
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
