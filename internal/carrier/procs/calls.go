//go:build unix

package procs

import (
	"context"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/internal/abi/frames"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/storage"
)

// call is one call, with all its attempts.
type call struct {
	frame    *frames.Call
	op       abi.Op
	span     carrier.Span
	repeated bool // a read, that the plugin may have received
}

// begin begins a call: the message is appended to its frame, then send sends it.
func (b *Backend) begin(ctx context.Context, op abi.Op) call {
	c := call{op: op}
	h := abi.Header{Budget: uint32(b.p.opts.MaxFrame)}
	b.stamp(ctx, &h)
	if b.p.spans.On(ctx) {
		_, c.span = b.p.spans.Begin(ctx, op)
		c.span.Tell(&h, make([]byte, 0, 55))
	}
	c.frame = frames.Begin(op, &h)
	return c
}

// stamp sets the times in a header.
func (b *Backend) stamp(ctx context.Context, h *abi.Header) {
	h.Now = b.time.Millis()
	if deadline, ok := ctx.Deadline(); ok {
		h.Deadline = max(time.Until(deadline).Milliseconds(), 1)
	}
}

// send sends the call and waits for its answer.
func (b *Backend) send(ctx context.Context, c *call) ([]byte, error) {
	message, err := b.ask(ctx, c)
	c.span.End(err)
	return message, err
}

// mostRuns limits how many processes one call is sent to.
const mostRuns = 3

// ask sends the call, and sends it again to the next process if the first was lost and
// the call can be repeated.
func (b *Backend) ask(ctx context.Context, c *call) ([]byte, error) {
	defer func() { c.frame.Free() }()
	if !b.calls.Enter() {
		return nil, b.error(&storage.Error{Code: storage.ShuttingDown})
	}
	defer b.calls.Leave()
	r, err := b.reach(ctx, nil)
	if err != nil {
		return nil, err
	}
	if b.meters != nil {
		b.meters.calls.Add(1)
	}
	for n := 1; ; n++ {
		message, sent, answered, err := r.transport.ask(ctx, c.op, c.frame)
		if err == nil {
			return message, nil
		}
		again := n < mostRuns && !answered && ctx.Err() == nil && b.repeats(ctx, c, r, sent, err)
		err = b.failure(ctx, r, c.op == abi.OpApply, sent, answered, err)
		if !again {
			return nil, err
		}
		next, refused := b.reach(ctx, r)
		switch {
		case refused == nil:
		case b.run.Load() == r: // it is not lost after all
			return nil, err
		default:
			return nil, refused
		}
		if err := c.renew(ctx, b); err != nil {
			return nil, b.error(err)
		}
		r = next
	}
}

// repeats reports whether a call without an answer from r is sent again: if it
// certainly has not reached the plugin, or if it is a read, once, and the process was
// killed from outside. A process that ended in another way may have died of the read.
func (b *Backend) repeats(ctx context.Context, c *call, r *run, sent bool, err error) bool {
	select {
	case <-b.ended:
		return false
	default:
	}
	switch {
	case storage.CodeOf(err) != storage.Unavailable:
		return false
	case !sent:
		return true
	case c.op == abi.OpApply, c.op == abi.OpHealth, c.repeated:
		return false
	}
	c.repeated = r.killed(ctx)
	return c.repeated
}

// renew makes the frame anew, with the time as it is now.
func (c *call) renew(ctx context.Context, b *Backend) error {
	f, err := c.frame.Request()
	if err != nil {
		return err
	}
	h := c.frame.Header
	b.stamp(ctx, &h)
	next := frames.Begin(c.op, &h)
	next.Frame = append(next.Frame, f.Message...)
	c.frame.Free()
	c.frame = next
	return nil
}

// failure returns the error of a call.
func (b *Backend) failure(ctx context.Context, r *run, write, sent, answered bool, err error) error {
	e := *storage.AsError(err)
	switch {
	case answered:
		e.Unknown = e.Unknown && write || e.Code == storage.OutcomeUnknown
	case sent && write:
		e.Code, e.Unknown = storage.OutcomeUnknown, true
		if ctx.Err() != nil {
			e.Msg = "the caller left while the write was under way"
		}
	default:
		e.Unknown = false
	}
	if !answered && ctx.Err() == nil && sent {
		select {
		case <-r.over:
			e.Msg = r.why.Error()
		default:
		}
	}
	if !write {
		return b.error(answer.Refused(&e, nil))
	}
	return b.error(&e)
}

// Get asks the plugin. It allocates the value and nothing else.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if b.info.Load().Limits.TooLong(key) { // and so absent, at whatever length
		return storage.Item{}, storage.ErrNotFound
	}
	c := b.begin(ctx, abi.OpGet)
	c.frame.Frame = abi.AppendGet(c.frame.Frame, key)
	message, err := b.send(ctx, &c)
	if err != nil {
		return storage.Item{}, err
	}
	it, err := answer.ReadItem(message)
	if err != nil {
		return it, b.error(carrier.Unreadable(abi.OpGet, err))
	}
	return it, nil
}

// Ask sends a message to the plugin.
func (b *Backend) Ask(ctx context.Context, op abi.Op, m carrier.Message) ([]byte, error) {
	c := b.begin(ctx, op)
	c.frame.Frame = m.Append(c.frame.Frame, op)
	if err := carrier.Fits(op, len(c.frame.Frame), b.p.opts.MaxFrame); err != nil {
		err = b.error(err)
		c.span.End(err)
		c.frame.Free()
		return nil, err
	}
	return b.send(ctx, &c)
}

// Changes asks the plugin, which may wait, until the backend is closed.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	own, done := b.calls.Within(ctx)
	defer done()
	page, err := b.Calls.Changes(own, q)
	if err != nil && own.Err() != nil && ctx.Err() == nil {
		err = b.error(&storage.Error{Code: storage.ShuttingDown})
	}
	return page, err
}

// longestWait limits how long a plugin is asked to wait for changes in one call.
const longestWait = 10 * time.Second

// mostWait returns how long a plugin may wait for changes without seeming to hang.
func (o *Options) mostWait() time.Duration {
	if o.Call > 0 {
		return min(longestWait, o.Call/4)
	}
	return longestWait
}

// Known returns what the plugin said of itself last.
func (b *Backend) Known() *storage.Info { return b.info.Load() }

// Wrap returns an error as the plugin's.
func (b *Backend) Wrap(err error) error { return b.p.opts.wrap(err) }

func (b *Backend) error(err error) error { return b.p.opts.wrap(err) }

// Closed reports whether Close was called.
func (b *Backend) Closed() bool { return b.calls.IsShut() }

// Usable reports whether there is a process that takes calls.
func (b *Backend) Usable() bool { return b.life.Status().State.Serves() }

// Working starts to observe whether the plugin answers other calls.
func (b *Backend) Working() func() bool {
	before, _, _ := b.progress()
	return func() bool {
		after, _, _ := b.progress()
		return after != before
	}
}

// Wrong returns what is known to be wrong with a process that answers.
func (b *Backend) Wrong() string {
	if r := b.run.Load(); r != nil {
		return r.wrong
	}
	return ""
}

// SetDegraded notes what a probe found.
func (b *Backend) SetDegraded(wrong string) { b.life.SetDegraded(wrong) }

// progress returns the progress of the process, if there is one.
func (b *Backend) progress() (answers uint64, inFlight int, left uint64) {
	if r := b.run.Load(); r != nil {
		return r.transport.progress()
	}
	return 0, 0, 0
}
