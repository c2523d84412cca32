package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// write sends one Write, with its operations, until it is settled: done, which is
// neither answer, or refused because of a condition. Every attempt is the same
// bytes under the same key, so that none is done twice.
func (b *Backend) write(ctx context.Context, request *ledgerpb.WriteRequest) (refused *ledgerpb.WriteError, _ error) {
	whole, cancel := context.WithTimeout(ctx, b.times.write)
	defer cancel()
	lane, err := b.lanes.take(whole)
	if err != nil {
		return nil, late(ctx)
	}
	settled := false
	defer func() { b.lanes.give(lane, settled) }()
	request.ClientId = &ledgerpb.ClientId{Id: lane}
	request.IdempotencyKey = make([]byte, 16)
	rand.Read(request.IdempotencyKey)
	b.notices.writes()
	defer b.notices.wrote()
	a := attempts{b: b, ctx: ctx, whole: whole, tries: b.tries()}
	refused, err = a.run(request)
	settled = err == nil || !storage.Unknown(err)
	return refused, err
}

// attempts holds the attempts of one Write.
type attempts struct {
	b          *Backend
	ctx, whole context.Context
	tries      *tries
	own        own // what the node had reported, and what was seen, when it was asked
	seen       mark
	told       uint64   // the height to which it was known whose they are
	dials      uint32   // how often the node had been dialed
	maybe      *failure // an attempt that may have been done; nil if none may
}

func (a *attempts) run(request *ledgerpb.WriteRequest) (*ledgerpb.WriteError, error) {
	answer := new(ledgerpb.WriteResponse)
	for {
		if left(a.whole) < leastWrite {
			return nil, a.outcome(nil)
		}
		n := a.tries.node(a.whole)
		a.own, a.seen = a.b.heights.before(n)
		a.told, a.dials = a.b.notices.height(), n.dials.Load()
		f := a.b.ask(a.whole, n, a.b.times.write, methodWrite, request, answer)
		if f == nil {
			a.b.pool.answered(n, true)
			return a.answered(n, request, answer)
		}
		if !f.refused() {
			a.maybe, a.tries.patient = f, true // it is worth all the time there is
			if f.Code == codes.Internal {
				// "Raft error", among others: it is repeated as the unavailable is.
				f.Code = codes.Aborted
			}
		}
		if !a.tries.again(a.whole, n, f) {
			return nil, a.outcome(f)
		}
	}
}

// left returns how long ctx lasts.
func left(ctx context.Context) time.Duration {
	at, _ := ctx.Deadline()
	return time.Until(at)
}

// answered returns what the leader's own answer means. It has looked the key of the write
// up before: what it refuses was not done by an earlier attempt either.
func (a *attempts) answered(n *node, request *ledgerpb.WriteRequest, answer *ledgerpb.WriteResponse) (*ledgerpb.WriteError, error) {
	e := answer.GetError()
	if e == nil {
		if answer.GetSuccess() == nil {
			return nil, a.unknown(n, "the answer to a write says nothing")
		}
		height := answer.GetSuccess().BlockHeight
		fits, back := a.b.heights.acknowledged(n, height, a.own, a.seen, a.maybe != nil)
		if back {
			a.b.wentBack()
		}
		if !fits {
			return nil, a.unknown(n, fmt.Sprintf("the acknowledgement is of height %d, and the node was at %d before", height, max(a.own.acked, a.own.read)))
		}
		a.b.notices.acknowledged(sight{n, height, a.dials, n.dials.Load()}, a.told, a.maybe != nil)
		return nil, nil
	}
	switch e.Code {
	case ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_ALREADY_COMMITTED:
		return nil, nil
	case ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_KEY_EXISTS, ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_KEY_NOT_FOUND,
		ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_VERSION_MISMATCH, ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_VALUE_MISMATCH:
		if e.Key != "" && !conditions(request, e.Key) {
			return nil, a.unknown(n, "the refusal names a key that is not of the write")
		}
		return e, nil
	case ledgerpb.WriteErrorCode_WRITE_ERROR_CODE_UNSPECIFIED:
		switch {
		case a.maybe != nil:
		case strings.Contains(e.Message, pageFull):
			return nil, &storage.Error{Code: storage.SizeLimit, Layer: layer,
				Msg: fmt.Sprintf("%s: the server refused the write with %q: an item and its key must fit into a page of %d bytes together with others (max_value)", n.name, pageFull, page)}
		default:
			return nil, &storage.Error{Code: storage.Internal, Layer: layer, Msg: n.name + ": the server could not do the write"}
		}
	}
	return nil, a.unknown(n, "the server could not do the write")
}

// conditions reports whether a write has a condition on a key.
func conditions(request *ledgerpb.WriteRequest, key string) bool {
	for _, op := range request.Operations {
		if s := op.GetSetEntity(); s.GetKey() == key && s.GetCondition() != nil {
			return true
		}
	}
	return false
}

// How the server refuses an entity that does not fit, and the size of its pages, which
// have no overflow pages.
const (
	pageFull = "Page is full"
	page     = 16 << 10
)

func (a *attempts) unknown(n *node, text string) error {
	return &storage.Error{Code: storage.OutcomeUnknown, Unknown: true, Layer: layer, Msg: n.name + ": " + text + ": it may have been applied"}
}

// outcome returns the error of a write that f ended, or, where that is nil, its time.
func (a *attempts) outcome(f *failure) error {
	if a.maybe == nil {
		if f == nil {
			return late(a.ctx)
		}
		return a.b.ended(a.ctx, a.whole, "apply", f)
	}
	e := a.maybe.storageError()
	e.Code, e.Unknown, e.RetryAfter = storage.OutcomeUnknown, true, 0
	e.Msg = "the write may have been applied: " + e.Msg
	if err := a.ctx.Err(); err != nil {
		e.Err = errors.Join(e.Err, err) // so that errors.Is finds the end of a context
	}
	return e
}

// late returns the error of a write for which there is no time, and of which nothing was
// sent.
func late(ctx context.Context) error {
	if err := storage.ContextError(ctx); err != nil {
		return err
	}
	return &storage.Error{Code: storage.Timeout, Layer: layer,
		Msg: "there is too little time left for a write: less than " + leastWrite.String() + ", with which the server refuses it"}
}
