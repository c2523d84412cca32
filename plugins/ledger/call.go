package ledger

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/backoff"
	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

func errClosed(op string) error {
	return &storage.Error{Code: storage.ShuttingDown, Layer: layer, Op: op}
}

// named adds the layer and the operation to an error that has none.
func named(op string, err error) error {
	e := storage.AsError(err)
	if e == nil || e.Layer != "" && e.Op != "" {
		return err
	}
	own := *e
	own.Layer = layer
	if own.Op == "" {
		own.Op = op
	}
	return &own
}

// tries tracks the attempts of one call: which node is asked next, and how long after the
// last.
type tries struct {
	b      *Backend
	tried  map[*node]int
	next   *node    // a hint; if nil, the pool decides
	n      int      // those that counted
	free   int      // those that did not
	reason *failure // the most telling so far
	// patient calls go on for as long as their context allows.
	patient bool
}

func (b *Backend) tries() *tries { return &tries{b: b, tried: map[*node]int{}} }

// node returns the one to ask.
func (t *tries) node(ctx context.Context) *node {
	n := t.next
	if t.next = nil; n == nil {
		t.b.findLeader(ctx)
		n = t.b.pool.pick(t.tried)
	}
	t.tried[n]++
	for _, lost := range t.b.pool.due(n) {
		t.b.spawn(func() { t.b.probe(lost) })
	}
	return n
}

// probe asks a node that was lost whether it answers again. A node that reports height
// 0 has just started, and has nothing yet.
func (b *Backend) probe(n *node) {
	height, f := b.heightOf(b.life, n)
	if f != nil && !f.answered || f == nil && height == 0 && b.heights.mark().height > 0 {
		b.pool.failed(n)
		return
	}
	b.pool.answered(n, false)
}

// again decides about another attempt after one has failed, waits for as long as it
// takes, and reports whether there is one.
func (t *tries) again(ctx context.Context, n *node, f *failure) bool {
	pool := t.b.pool
	if t.reason == nil || f.telling() >= t.reason.telling() {
		t.reason = f
	}
	t.patient = t.patient || f.stale // another node may have it once it leads
	switch {
	case f.leader() != "":
		pool.notLeader(n)
		if h := pool.hint(f.leader()); h != nil && t.tried[h] == 0 {
			t.next = h
			return ctx.Err() == nil && t.costless()
		}
	case f.stale && ctx.Err() == nil:
		pool.stale(n)
	case (!f.answered || f.Code == codes.DeadlineExceeded) && ctx.Err() == nil:
		pool.failed(n)
		t.b.heights.failed(n)
	case f.retryable():
		pool.notLeader(n)
	}
	if !f.retryable() || ctx.Err() != nil || t.b.calls.IsShut() && !t.patient {
		return false
	}
	if !f.sent && t.tried[pool.pick(t.tried)] == 0 && t.costless() { // another may be there
		return true
	}
	t.n++
	if !t.patient && t.n >= t.b.config.Retry.Attempts || f.retryAfter > left(ctx) {
		return false
	}
	turn := t.n
	if f.stale {
		turn = min(turn, staleWaits)
	}
	return t.b.wait(ctx, turn, f.retryAfter)
}

// staleWaits is after how many attempts the waits for a node that is not behind grow
// no more.
const staleWaits = 3

// telling orders failures by how much they say about why a call failed: a time-out
// says least.
func (f *failure) telling() int {
	switch {
	case f.stale:
		return 3
	case f.Code == codes.DeadlineExceeded || f.Code == codes.Canceled:
		return 0
	case f.answered:
		return 2
	}
	return 1
}

// mostFree limits how many attempts of a call do not count: those after a hint, and those
// on a node that is not there while others may be.
const mostFree = 2 * maxHinted

func (t *tries) costless() bool {
	t.free++
	return t.free <= mostFree
}

// wait waits before attempt n+1, and reports whether it did to the end.
func (b *Backend) wait(ctx context.Context, n int, least time.Duration) bool {
	r := &b.config.Retry
	seconds := min(b.times.retryFirst.Seconds()*math.Pow(r.Multiplier, float64(n-1)), b.times.retryMost.Seconds())
	seconds *= 1 - r.Jitter + 2*r.Jitter*rand.Float64()
	return backoff.Wait(ctx, max(time.Duration(seconds*float64(time.Second)), least), b.life.Done())
}

// shares is how many attempts that hang a call survives: each has its share of the
// call's time.
const shares = 3

// share returns how long one attempt of a call may take that has all.
func (t *times) share(all time.Duration) time.Duration {
	if t.attempt > 0 {
		return t.attempt
	}
	return max(all/shares, leastWrite)
}

// read asks until there is an answer, or the attempts are used up. answer is reset
// before each attempt. An answer that is linearizable by c is of no earlier state than
// any before. read returns the node that gave it.
func (b *Backend) read(ctx context.Context, op, method string, c ledgerpb.ReadConsistency, request, answer proto.Message) (*node, error) {
	least := b.heights.mark()
	whole, cancel := context.WithTimeout(ctx, b.times.read)
	defer cancel()
	t, all := b.tries(), min(b.times.read, left(whole))
	for {
		if c != unspecified {
			if err := b.lost(); err != nil {
				return nil, named(op, err)
			}
		}
		n := t.node(whole)
		f := b.ask(whole, n, all, method, request, answer)
		if f == nil {
			f = b.stale(whole, n, c, answer, least)
		}
		if f == nil {
			b.pool.answered(n, false)
			return n, nil
		}
		if !t.again(whole, n, f) {
			return n, b.ended(ctx, whole, op, t.reasonOf(f))
		}
	}
}

// reasonOf returns the failure to report of a call that f ended: a later time-out does not
// mask what was said before.
func (t *tries) reasonOf(f *failure) *failure {
	if f.retryable() && t.reason != nil {
		return t.reason
	}
	return f
}

// ask makes one attempt with its share of a call's time.
func (b *Backend) ask(ctx context.Context, n *node, all time.Duration, method string, request, answer proto.Message) *failure {
	ctx, cancel := context.WithTimeout(ctx, b.times.share(all))
	defer cancel()
	proto.Reset(answer)
	return n.attempt(ctx, method, request, answer)
}

// ended returns the error of a call that ended with f: the caller's context comes first.
func (b *Backend) ended(ctx, whole context.Context, op string, f *failure) error {
	switch {
	case ctx.Err() != nil:
		return named(op, storage.AsError(ctx.Err()))
	case b.calls.IsShut() && f.retryable():
		return errClosed(op)
	case whole.Err() != nil && f.retryable():
		e := f.storageError()
		e.Op = op
		if !f.stale {
			e.Code = storage.Timeout
		}
		e.Msg += ", and the time for the call is over"
		return e
	case f.Code == codes.Canceled && b.life.Err() != nil:
		return errClosed(op)
	}
	return named(op, f.storageError())
}
