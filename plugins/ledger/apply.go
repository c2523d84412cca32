package ledger

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/storage"
)

// rounds limits how often a conditional write is sent that the server refuses although its
// checks hold, because of a record that has expired or has just changed.
const rounds = 6

// Apply does all of w in one Write, or nothing: see [storage.Backend]. It returns 0,
// because there are no versions. A write set that one Write cannot express is refused before
// anything is sent. A delete of a range lists its keys first: keys that other writers add
// meanwhile, past this backend, stay.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	if err := storage.ContextError(ctx); err != nil {
		return 0, named("apply", err)
	}
	if !b.calls.Enter() {
		return 0, errClosed("apply")
	}
	defer b.calls.Leave()
	if err := b.apply(ctx, w); err != nil {
		return 0, named("apply", err)
	}
	return 0, nil
}

func (b *Backend) apply(ctx context.Context, w *storage.WriteSet) error {
	n, err := storage.Normalize(w, b.info.Load())
	if err != nil {
		return err
	}
	for i := range w.Ops {
		if o := &w.Ops[i]; o.Kind != storage.OpDeleteRange {
			if err := checkKey(o.Key); err != nil {
				return err
			}
		}
	}
	if len(n.Ops) == 0 && len(n.Checks) == 0 {
		return nil
	}
	v, err := b.gate.enter(ctx, n)
	if err != nil {
		return err
	}
	defer b.gate.leave(v)
	inRanges, err := b.inRanges(ctx, w, n)
	if err != nil {
		return err
	}
	if len(inRanges) > maxOps { // allowed, or it would have been refused
		return b.chunks(ctx, inRanges)
	}
	p := newPlan(n, inRanges, b.clock.Now())
	if len(p.steps) == 0 {
		return nil
	}
	return b.carryOut(ctx, p)
}

// inRanges returns the keys that the ranges of a write set hold. More of them than a
// Write takes are refused, unless the write set is one range alone and the
// configuration lets that be done piece by piece.
func (b *Backend) inRanges(ctx context.Context, w, n *storage.WriteSet) ([][]byte, error) {
	var ranges []storage.Op
	for _, o := range n.Ops {
		if o.Kind == storage.OpDeleteRange {
			ranges = append(ranges, o)
		}
	}
	if len(ranges) == 0 {
		return nil, nil
	}
	most := maxOps
	chunked := b.config.ChunkedClear && len(w.Ops) == 1 && len(w.Checks) == 0
	if chunked {
		most = b.config.MaxRangeResults
	}
	keys, err := b.live(ctx, "apply", ranges, most)
	if err == nil && len(keys) > most {
		e := storage.LimitError(storage.RangeLimit, "ops", int64(most), int64(len(keys)))
		e.Msg = "the range holds more keys than one write can delete"
		err = e
	}
	return keys, err
}

// chunks deletes keys in as many writes as it takes. After the first, a failure
// leaves some of them deleted, and says so.
func (b *Backend) chunks(ctx context.Context, keys [][]byte) error {
	for done := 0; done < len(keys); {
		n := min(maxOps, len(keys)-done)
		p := newPlan(&storage.WriteSet{}, keys[done:done+n], b.clock.Now())
		if err := b.carryOut(ctx, p); err != nil {
			if done == 0 {
				return err
			}
			e := *storage.AsError(err)
			e.Code, e.Unknown = storage.OutcomeUnknown, true
			e.Msg = "a part of the range was deleted, and the rest was not: " + e.Error()
			return &e
		}
		done += n
	}
	return nil
}

// carryOut sends the plan until it is done, or a check is found not to hold. The
// server judges conditions by records that have expired too: what is there is
// looked up first, except for the one check that the server can be wrong about in
// one direction only.
func (b *Backend) carryOut(ctx context.Context, p *plan) error {
	request := &ledgerpb.WriteRequest{Organization: b.organization, Vault: b.vault, Caller: b.caller}
	look := len(p.checks) > 1 || len(p.checks) == 1 && p.checks[0].Kind != storage.CheckAbsent
	for round := 1; ; round++ {
		request.Operations = p.operations()
		if n := len(request.Operations); n > maxOps {
			return storage.LimitError(storage.SizeLimit, "ops", maxOps, int64(n))
		}
		if n := proto.Size(request) + aroundWrite; n > maxMessage {
			return storage.LimitError(storage.SizeLimit, "message bytes", maxMessage, int64(n))
		}
		if look {
			if at, err := b.look(ctx, p); err != nil || at >= 0 {
				return conflict(at, err)
			}
		}
		b.known.wrote(p.steps, false) // unknown while it is in flight
		refused, err := b.write(ctx, request)
		if err == nil && refused == nil {
			b.known.wrote(p.steps, true)
		}
		if err != nil || refused == nil {
			return err
		}
		if round == rounds {
			return &storage.Error{Code: storage.Conflict, Msg: "a key that is checked changes all the time"}
		}
		p.adjust(refused)
		look = true
	}
}

// aroundWrite is what else is in a Write: the name of the client and its key.
const aroundWrite = 300

func conflict(at int, err error) error {
	if err != nil {
		return err
	}
	return storage.ConflictAt(at)
}

// look judges the checks of a plan by what is there now: the first that does not
// hold, or -1.
func (b *Backend) look(ctx context.Context, p *plan) (int, error) {
	keys := make([][]byte, len(p.checks))
	for i := range p.checks {
		keys[i] = p.checks[i].Key
	}
	there, err := b.lookup(ctx, keys)
	if err != nil {
		return -1, err
	}
	return p.failing(there), nil
}

// lookup does what many does, for any number of bytes.
func (b *Backend) lookup(ctx context.Context, keys [][]byte) (map[string][]byte, error) {
	there, err := b.many(ctx, "apply", keys, consistency)
	if err == nil || len(keys) < 2 || !errors.Is(err, storage.ErrRangeLimit) {
		return there, err
	}
	there, err = b.lookup(ctx, keys[:len(keys)/2])
	if err != nil {
		return nil, err
	}
	rest, err := b.lookup(ctx, keys[len(keys)/2:])
	for k, v := range rest {
		there[k] = v
	}
	return there, err
}
