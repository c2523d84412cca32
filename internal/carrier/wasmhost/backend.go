package wasmhost

import (
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// Backend implements storage.Backend by an opened plugin, with its state in a guest. It has
// one instance, or several if the guest claims to be stateless.
type Backend struct {
	carrier.Calls
	m      *Module
	config *secret.Value
	slots  []*slot
	next   atomic.Uint32 // the slot that is tried first
	clock  func() time.Time
	time   *clock.Clock

	whenLost atomic.Pointer[func()]

	info   atomic.Pointer[storage.Info]
	closed atomic.Bool
	meters *meters // nil if calls are not counted
}

// Open starts an instance and makes its backend with config, a JSON object or nothing. It
// returns an error of the guest unchanged, with its ConfigPath.
func (m *Module) Open(ctx context.Context, config json.RawMessage) (*Backend, error) {
	return m.OpenFor(ctx, "", config)
}

// OpenFor opens a backend like Open, for a store of that name, which distinguishes its
// metrics.
func (m *Module) OpenFor(ctx context.Context, store string, config json.RawMessage) (*Backend, error) {
	if len(config) > m.opts.MaxFrame/2 {
		return nil, m.opts.wrap(storage.LimitError(storage.SizeLimit, "configuration bytes", int64(m.opts.MaxFrame/2), int64(len(config))))
	}
	b := &Backend{m: m, clock: m.opts.Clock, time: clock.New(m.opts.Clock)}
	b.Calls.To, b.Calls.Followers = b, &carrier.Followers{}
	log := m.opts.Log
	if store != "" {
		log = log.With("store", store)
	}
	for want := 1; len(b.slots) < want; {
		in, err := m.open(ctx, config, b.time.Millis())
		if err != nil {
			b.Close(context.WithoutCancel(ctx))
			return nil, m.opts.wrap(err)
		}
		s := &slot{in: in, life: supervise.New(m.opts.Restart, b.clock, log)}
		s.life.Started()
		b.slots = append(b.slots, s)
		if in.info.Caps.Has(storage.CapStateless) {
			want = runtime.GOMAXPROCS(0)
		}
		b.info.Store(&in.info)
	}
	b.config = secret.Copy(config) // of one that opened: each is in memory of its own
	if err := b.meter(m.opts.Meter, store); err != nil {
		b.Close(context.WithoutCancel(ctx))
		return nil, m.opts.wrap(err)
	}
	return b, nil
}

// WhenLost registers f to be called as soon as an instance is lost together with its
// state. f must not call the backend.
func (b *Backend) WhenLost(f func()) { b.whenLost.Store(&f) }

// Status returns the status of the plugin.
func (b *Backend) Status() supervise.Status {
	all := make([]supervise.Status, 0, len(b.slots))
	for _, s := range b.slots {
		all = append(all, s.life.Status())
	}
	return supervise.Together(all)
}

// Known returns the guest's Info.
func (b *Backend) Known() *storage.Info { return b.info.Load() }

// Wrap returns an error with the plugin as its layer.
func (b *Backend) Wrap(err error) error { return b.m.opts.wrap(err) }

func (b *Backend) error(err error) error { return b.m.opts.wrap(err) }

// Closed reports whether Close was called.
func (b *Backend) Closed() bool { return b.closed.Load() }

// Usable reports whether an instance exists, or may be started by now.
func (b *Backend) Usable() bool { return slices.ContainsFunc(b.slots, (*slot).usable) }

// Working reports whether the guest serves: the time limit of a call detects a guest that
// hangs.
func (b *Backend) Working() func() bool { return func() bool { return b.Status().State.Serves() } }

// Wrong returns "": nothing is wrong with an instance that answers.
func (b *Backend) Wrong() string { return "" }

// SetDegraded records what a probe found to be wrong, for each instance.
func (b *Backend) SetDegraded(wrong string) {
	for _, s := range b.slots {
		s.life.SetDegraded(wrong)
	}
}

// Info returns the guest's Info, with limits cut to those of a frame.
func (b *Backend) Info() storage.Info { return *b.info.Load() }

// slot returns a free slot, or else the next in turn. A slot without an instance is passed
// over while there are others, until it may have one again.
func (b *Backend) slot() (s *slot, held bool) {
	if len(b.slots) == 1 {
		return b.slots[0], b.slots[0].try()
	}
	first := int(b.next.Add(1))
	for i := range b.slots {
		at := b.slots[(first+i)%len(b.slots)]
		if !at.usable() {
			continue
		}
		if at.try() {
			return at, true
		}
		s = at
	}
	if s == nil {
		s = b.soonest()
		return s, s.try()
	}
	return s, false
}

// soonest returns the slot that is started again before the others, when all are lost;
// the first where none is.
func (b *Backend) soonest() *slot {
	best, at := b.slots[0], time.Time{}
	for _, s := range b.slots {
		if is := s.life.Status(); !is.RetryAt.IsZero() && (at.IsZero() || is.RetryAt.Before(at)) {
			best, at = s, is.RetryAt
		}
	}
	return best
}

// reopen makes another instance, with the configuration of the first.
func (b *Backend) reopen() (in *instance, err error) {
	b.config.Use(func(config []byte) { in, err = b.m.open(context.Background(), config, b.time.Later()) })
	return in, err
}

// ready gives the held slot an instance, if it has lost its own and may have
// another. It does not release the slot.
func (b *Backend) ready(s *slot) error {
	if b.closed.Load() {
		return b.error(&storage.Error{Code: storage.ShuttingDown})
	}
	if s.in != nil {
		return nil
	}
	if !s.life.Due() {
		return b.unavailable(s)
	}
	in, err := b.reopen()
	if err == nil {
		if err = carrier.Admits(b.info.Load().Caps, in.info.Caps); err != nil {
			in.close()
		}
	}
	if err != nil {
		s.life.Lost(err, "", true)
		return b.unavailable(s)
	}
	s.in = in
	if s.counts != nil {
		s.counts.memory.Store(uint64(in.guest.Memory().Size()))
	}
	b.info.Store(&in.info)
	s.down.Store(false)
	s.life.Started()
	return nil
}

// discard throws the held slot's broken instance away and notes what follows.
func (b *Backend) discard(s *slot, reason error) {
	why := *storage.AsError(reason) // each waiting call learns whether its own write may have been applied
	why.Unknown, reason = false, &why
	in := s.in
	s.in = nil
	s.down.Store(true)
	survives := in.info.Caps&(storage.CapDurable|storage.CapStateless) != 0
	if f := b.whenLost.Load(); f != nil && !survives {
		(*f)()
	}
	restarts := survives || b.m.opts.OnLoss == RestartOnLoss
	if b.m.opts.Lost != nil {
		b.m.opts.Lost(reason)
	}
	if err := in.close(); err != nil {
		b.m.opts.Log.Warn("close broken instance", "error", err)
	}
	s.life.Lost(reason, "", restarts)
}

// unavailable returns why a slot has no instance.
func (b *Backend) unavailable(s *slot) error {
	if e := s.life.Error(); e != nil {
		return b.error(e)
	}
	return b.error(&storage.Error{Code: storage.ShuttingDown})
}

// awaits waits while every instance is lost, if one is started again soon enough.
func (b *Backend) awaits(ctx context.Context) error {
	for _, s := range b.slots {
		if s.usable() {
			return nil
		}
	}
	if err := b.soonest().life.WaitDue(ctx); err != nil {
		return b.error(err)
	}
	return nil
}

// request returns the maximum size of a request frame, in bytes: that of the largest write
// set within limits l, for which a guest has a buffer. A get or scan is no longer than
// that, because a read must not end a guest that accepts every write.
func (b *Backend) request(l *storage.Limits) int {
	const wrapping = 48 // of an op, a check or a key
	elements := min(max(l.Ops, l.GetKeys), abi.MaxElements)
	return min(b.m.opts.MaxFrame, max(l.WriteBytes, 2*(l.Key+1))+wrapping*elements+frameReserve)
}

// do sends one request and waits for its answer.
func (b *Backend) do(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return storage.ContextError(ctx)
	}
	if b.closed.Load() { // at once, although calls may still be in flight
		return b.error(&storage.Error{Code: storage.ShuttingDown})
	}
	if b.slots[0].down.Load() {
		if err := b.awaits(ctx); err != nil {
			return err
		}
	}
	s, held := b.slot()
	if !held {
		var err error
		var start time.Time
		if b.meters != nil {
			start = time.Now()
		}
		held, err = s.wait(ctx, r)
		if b.meters != nil {
			b.meters.waited(ctx, start)
		}
		if err != nil {
			return err
		}
	}
	if held {
		b.hold(s, r)
	}
	if r.err != nil {
		if !r.write {
			return b.error(answer.Refused(r.err, nil))
		}
		return b.error(r.err)
	}
	return nil
}

// hold runs r and what else waits in the slot that is held, and releases it.
func (b *Backend) hold(s *slot, r *request) {
	defer s.release()
	err := b.ready(s)
	batch := s.gather(r)
	if err != nil {
		for _, q := range batch {
			q.err = err
		}
	} else {
		combined(batch)
		broken := s.run(batch)
		if s.counts != nil {
			s.called(len(batch), broken == nil)
		}
		if broken != nil {
			b.discard(s, broken)
		}
	}
	for _, q := range batch[1:] {
		q.done <- true
	}
}

// frame begins a request: the message is appended, then end finishes it.
func (b *Backend) frame(ctx context.Context, op abi.Op) *request {
	r := requests.Get().(*request)
	r.write = op == abi.OpApply
	h := abi.Header{Now: b.time.Millis(), Budget: uint32(b.m.message())}
	if deadline, ok := ctx.Deadline(); ok {
		h.Deadline = max(time.Until(deadline).Milliseconds(), 1)
	}
	if b.m.spans.On(ctx) {
		_, r.span = b.m.spans.Begin(ctx, op)
		r.trace = r.span.Tell(&h, r.trace[:0])
	} else if b.m.opts.TraceContext != nil {
		traceparent, tracestate := b.m.opts.TraceContext(ctx)
		h.Traceparent, h.Tracestate = []byte(traceparent), []byte(tracestate)
	}
	r.frame = abi.BeginFrame(r.frame[:0], 0, uint8(op), &h)
	return r
}

// send finishes the request and sends it.
func (b *Backend) send(ctx context.Context, op abi.Op, r *request) (message []byte, err error) {
	if r.frame, err = abi.EndFrame(r.frame, 0); err == nil {
		if err = carrier.Fits(op, len(r.frame), b.request(&b.info.Load().Limits)); err == nil {
			err = b.do(ctx, r)
		} else {
			err = b.error(err)
		}
	}
	r.span.End(err)
	message = r.message
	r.free()
	return message, err
}
