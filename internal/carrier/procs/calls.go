//go:build unix

package procs

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/internal/abi/frames"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/storage"
)

// call is one call on its way.
type call struct {
	frame *frames.Call
	op    abi.Op
	spanned
}

// begin begins a call: the message is appended to its frame, then send sends it.
func (b *Backend) begin(ctx context.Context, op abi.Op) call {
	c := call{op: op}
	h := abi.Header{Now: b.time.Millis(), Budget: uint32(b.p.opts.MaxFrame)}
	if deadline, ok := ctx.Deadline(); ok {
		h.Deadline = max(time.Until(deadline).Milliseconds(), 1)
	}
	if b.p.traces(ctx) {
		c.spanned = b.p.span(ctx, op, &h)
	}
	c.frame = frames.Begin(op, &h)
	return c
}

// send sends the call and waits for its answer.
func (b *Backend) send(ctx context.Context, c *call) ([]byte, error) {
	message, err := b.ask(ctx, c)
	c.ends(err)
	return message, err
}

func (b *Backend) ask(ctx context.Context, c *call) ([]byte, error) {
	if !b.calls.begin() {
		c.frame.Free()
		return nil, b.error(&storage.Error{Code: storage.ShuttingDown})
	}
	defer b.calls.done()
	r, err := b.reach(ctx)
	if err != nil {
		c.frame.Free()
		return nil, err
	}
	if b.meters != nil {
		b.meters.calls.Add(1)
	}
	message, sent, answered, err := r.plane.ask(ctx, c.op, c.frame)
	if err == nil {
		return message, nil
	}
	return nil, b.failure(ctx, r, c.op == abi.OpApply, sent, answered, err)
}

// failure is the error of a call.
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

func (b *Backend) error(err error) error {
	if e, ok := err.(*storage.Error); ok && (e.Layer != "" || e.Code == storage.NotFound) {
		return err
	}
	return b.p.opts.wrap(err)
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
		return it, b.unreadable("get", err)
	}
	return it, nil
}

// GetMany asks the plugin. The items share one copy of the answer.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	limits := &b.info.Load().Limits
	if err := limits.CheckGetKeys(len(keys)); err != nil {
		return nil, b.error(err)
	}
	keys = limits.Possible(keys)
	c := b.begin(ctx, abi.OpGetMany)
	c.frame.Frame = abi.AppendGetMany(c.frame.Frame, keys)
	if n, most := len(c.frame.Frame), b.p.opts.MaxFrame; n > most { // fewer keys may fit
		err := b.error(storage.LimitError(storage.RangeLimit, "request frame", int64(most), int64(n)))
		c.ends(err)
		c.frame.Free()
		return nil, err
	}
	message, err := b.send(ctx, &c)
	if err != nil {
		return nil, err
	}
	items, err := answer.ReadItems(message, keys)
	if err != nil {
		return nil, b.unreadable("get_many", err)
	}
	return items, nil
}

// Scan asks the plugin. The items share one copy of the answer.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Validate(); err != nil {
		return storage.Page{}, b.error(err)
	}
	c := b.begin(ctx, abi.OpScan)
	cut := q.Cut(b.info.Load().Limits)
	c.frame.Frame = abi.AppendQuery(c.frame.Frame, &cut)
	message, err := b.send(ctx, &c)
	if err != nil {
		return storage.Page{}, err
	}
	page, err := answer.ReadPage(message, &cut)
	if err != nil {
		return page, b.unreadable("scan", err)
	}
	q.Resume(&page)
	return page, nil
}

// Apply asks the plugin, after what can be checked here has been.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	info := b.info.Load()
	if err := w.Validate(info); err != nil {
		return 0, b.error(err)
	}
	w = w.Cut(info.Limits)
	c := b.begin(ctx, abi.OpApply)
	c.frame.Frame = abi.AppendWriteSet(c.frame.Frame, w)
	message, err := b.send(ctx, &c)
	if err != nil {
		return 0, answer.Refused(err, w)
	}
	version, err := abi.DecodeVersion(message)
	if err != nil {
		e := *storage.AsError(b.unreadable("apply", err))
		e.Code, e.Unknown = storage.OutcomeUnknown, true
		return 0, &e
	}
	return version, nil
}

// Health says how the plugin is, and, but for liveness, asks it.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	if b.calls.n.Load() < 0 {
		return storage.Health{}, b.error(&storage.Error{Code: storage.ShuttingDown})
	}
	s := b.life.Status()
	h := storage.Health{Status: storage.Healthy}
	switch {
	case s.State == supervise.Failed, p != storage.Liveness && !s.State.Serves():
		h = storage.Health{Status: storage.Unhealthy, Reason: s.Reason}
	case p != storage.Liveness:
		var err error
		before, _, _ := b.progress()
		soon, cancel := context.WithTimeout(ctx, busyAfter)
		h, err = b.askHealth(soon, p)
		late := ctx.Err() == nil && errors.Is(soon.Err(), context.DeadlineExceeded)
		cancel()
		after, _, _ := b.progress()
		switch {
		case err != nil && late && after != before:
			h = storage.Health{Status: storage.Healthy, Details: map[string]string{"busy": "true"}}
		case err != nil && late: // it may be slow
			if h, err = b.askHealth(ctx, p); err != nil {
				return h, err
			}
		case err != nil:
			return h, err
		}
		if r := b.run.Load(); r != nil && r.wrong != "" && h.Status == storage.Healthy {
			h.Status, h.Reason = storage.Degraded, r.wrong
		}
		wrong := ""
		if h.Status != storage.Healthy {
			wrong = cmp.Or(h.Reason, h.Status.String())
		}
		b.life.Is(wrong)
		s = b.life.Status()
	}
	return s.Describe(h), nil
}

// busyAfter is how long a plugin that answers others may let a probe wait: it is well then,
// and does not say more.
const busyAfter = time.Second

// progress is that of the process, if there is one.
func (b *Backend) progress() (answers uint64, inFlight int, left uint64) {
	if r := b.run.Load(); r != nil {
		return r.plane.progress()
	}
	return 0, 0, 0
}

func (b *Backend) askHealth(ctx context.Context, p storage.Probe) (h storage.Health, err error) {
	c := b.begin(ctx, abi.OpHealth)
	c.frame.Frame = abi.AppendProbe(c.frame.Frame, p)
	message, err := b.send(ctx, &c)
	if err != nil {
		return h, err
	}
	if err := abi.DecodeHealth(message, &h); err != nil {
		return h, b.unreadable("health", err)
	}
	answer.Health(&h)
	return h, nil
}

// unreadable is the error of an answer whose frame was well and whose message is not.
func (b *Backend) unreadable(op string, err error) error {
	return b.error(&storage.Error{Code: storage.Internal, Op: op, Msg: "the plugin's answer cannot be read: " + err.Error()})
}
