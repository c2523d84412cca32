package wasmhost

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/storage"
)

// Backend is an opened plugin: a storage.Backend whose state is in a guest. It
// has one instance, or several where the guest says that it is stateless.
type Backend struct {
	m      *Module
	config json.RawMessage
	slots  []*slot
	next   atomic.Uint32 // the slot that is tried first
	clock  func() time.Time
	last   atomic.Int64 // the latest now, in ms

	info   atomic.Pointer[storage.Info]
	failed atomic.Pointer[failure] // nil: none
	closed atomic.Bool
}

// failure is why there is no instance, and when another may be tried.
type failure struct {
	reason   error
	restarts bool
	retryAt  time.Time
	attempts int
}

var _ storage.Backend = (*Backend)(nil)

// Open starts an instance and makes its backend with config, a JSON object or
// nothing. An error of the guest's own is passed on with its ConfigPath.
func (m *Module) Open(ctx context.Context, config json.RawMessage) (*Backend, error) {
	if len(config) > m.opts.MaxFrame/2 {
		return nil, m.opts.wrap(storage.LimitError(storage.SizeLimit, "configuration bytes", int64(m.opts.MaxFrame/2), int64(len(config))))
	}
	in, err := m.open(ctx, config)
	if err != nil {
		return nil, m.opts.wrap(err)
	}
	b := &Backend{m: m, config: config, clock: m.opts.Clock, slots: []*slot{{in: in}}}
	b.info.Store(&in.info)
	if in.info.Caps.Has(storage.CapStateless) {
		for range runtime.GOMAXPROCS(0) - 1 {
			in, err := m.open(ctx, config)
			if err != nil {
				b.Close(ctx)
				return nil, m.opts.wrap(err)
			}
			b.slots = append(b.slots, &slot{in: in})
		}
	}
	return b, nil
}

// Info is what the guest said at its start, within the limits of a frame.
func (b *Backend) Info() storage.Info { return *b.info.Load() }

// now is the clock in ms, which never goes back for any instance.
func (b *Backend) now() int64 {
	now := b.clock().UnixMilli()
	for {
		last := b.last.Load()
		if now <= last {
			return last
		}
		if b.last.CompareAndSwap(last, now) {
			return now
		}
	}
}

// slot is one that nobody has, else the next in turn.
func (b *Backend) slot() (s *slot, held bool) {
	if len(b.slots) == 1 {
		return b.slots[0], b.slots[0].try()
	}
	first := int(b.next.Add(1))
	for i := range b.slots {
		if s = b.slots[(first+i)%len(b.slots)]; s.try() {
			return s, true
		}
	}
	return b.slots[first%len(b.slots)], false
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
	f := b.failed.Load()
	now := time.Now()
	if f == nil || !f.restarts || now.Before(f.retryAt) {
		return b.unavailable(f, now)
	}
	in, err := b.m.open(context.Background(), b.config)
	if err == nil {
		err = b.admits(&in.info)
		if err != nil {
			in.close()
		}
	}
	if err != nil {
		f = &failure{reason: err, restarts: true, attempts: f.attempts + 1}
		f.retryAt = now.Add(restartPause(f.attempts))
		b.failed.Store(f)
		b.m.opts.Log.Error("the plugin could not be restarted", "error", err, "attempts", f.attempts)
		return b.unavailable(f, now)
	}
	s.in = in
	b.info.Store(&in.info)
	b.failed.Store(nil)
	b.m.opts.Log.Warn("the plugin was restarted", "reason", f.reason, "durable", in.info.Caps.Has(storage.CapDurable))
	return nil
}

// admits refuses a restart that can do less than what was checked.
func (b *Backend) admits(info *storage.Info) error {
	if before := b.info.Load().Caps; !info.Caps.Has(before) {
		return storage.Errorf(storage.Internal, "restarted with fewer capabilities than before: it lacks %s", before&^info.Caps)
	}
	return nil
}

// restartPause is full jitter below 100 ms · 2ⁿ, at most half a minute.
func restartPause(attempts int) time.Duration {
	return rand.N(min(100*time.Millisecond<<min(attempts, 20), 30*time.Second))
}

// discard throws the held slot's broken instance away and notes what follows.
func (b *Backend) discard(s *slot, reason error) {
	in := s.in
	s.in = nil
	if err := in.close(); err != nil {
		b.m.opts.Log.Warn("closing a broken instance", "error", err)
	}
	f := &failure{reason: reason}
	f.restarts = in.info.Caps&(storage.CapDurable|storage.CapStateless) != 0 || b.m.opts.OnLoss == RestartOnLoss
	b.failed.Store(f)
	b.m.opts.Log.Error("the plugin's instance was lost", "reason", reason, "restarts", f.restarts)
}

func (b *Backend) unavailable(f *failure, now time.Time) error {
	e := &storage.Error{Code: storage.Unavailable, Msg: "the plugin has failed"}
	if f != nil {
		e.Msg = "the plugin has failed and its state is lost: " + f.reason.Error()
		if f.restarts {
			e.Msg = "the plugin has failed and is being restarted: " + f.reason.Error()
			e.RetryAfter = max(f.retryAt.Sub(now), time.Millisecond)
		}
	}
	return b.error(e)
}

func (b *Backend) error(err error) error {
	if e, ok := err.(*storage.Error); ok && e.Layer != "" {
		return err
	}
	return b.m.opts.wrap(err)
}

// do sends one request and waits for its answer.
func (b *Backend) do(ctx context.Context, r *request) error {
	if len(r.frame) > b.m.opts.MaxFrame {
		return b.error(storage.LimitError(storage.SizeLimit, "request frame", int64(b.m.opts.MaxFrame), int64(len(r.frame))))
	}
	if err := ctx.Err(); err != nil {
		return storage.ContextError(ctx)
	}
	s, held := b.slot()
	if !held {
		var err error
		if held, err = s.wait(ctx, r); err != nil {
			return err
		}
	}
	if held {
		b.hold(s, r)
	}
	if r.err != nil {
		return b.error(r.err)
	}
	return nil
}

// hold runs r and what else waits in the slot that is held, and releases it.
func (b *Backend) hold(s *slot, r *request) {
	defer s.release()
	batch := s.gather(r)
	if err := b.ready(s); err != nil {
		for _, q := range batch {
			q.err = err
		}
		for _, q := range batch[1:] {
			q.done <- true
		}
		return
	}
	if broken := s.run(batch); broken != nil {
		b.discard(s, broken)
	}
}

// frame begins a request: the message is appended, then end finishes it.
func (b *Backend) frame(ctx context.Context, op abi.Op) *request {
	r := requests.Get().(*request)
	r.write = op == abi.OpApply
	h := abi.Header{Now: b.now(), Budget: uint32(b.m.opts.MaxFrame)}
	if deadline, ok := ctx.Deadline(); ok {
		h.Deadline = max(time.Until(deadline).Milliseconds(), 1)
	}
	r.frame = abi.BeginFrame(r.frame[:0], 0, uint8(op), &h)
	return r
}

// send finishes the request and sends it.
func (b *Backend) send(ctx context.Context, r *request) (message []byte, err error) {
	if r.frame, err = abi.EndFrame(r.frame, 0); err == nil {
		err = b.do(ctx, r)
	}
	message = r.message
	r.free()
	return message, err
}

// unreadable is the error of an answer whose frame was well and whose message is not.
func (b *Backend) unreadable(op string, err error) error {
	return b.error(&storage.Error{Code: storage.Internal, Op: op, Msg: "the plugin's answer cannot be read: " + err.Error()})
}
