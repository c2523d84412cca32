//go:build unix

package procs

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/frames"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/internal/drain"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// Backend implements storage.Backend by an opened plugin, whose state is in a process of
// its own. It is safe for concurrent use.
type Backend struct {
	carrier.Calls
	p      *Plugin
	store  string
	config *secret.Value
	folder *carrier.Folder
	life   *supervise.Life
	time   *clock.Clock

	whenLost atomic.Pointer[func()]

	run   atomic.Pointer[run] // nil if none accepts calls
	info  atomic.Pointer[storage.Info]
	calls *drain.Gate

	closing chan struct{} // of one: of who closes
	ended   chan struct{} // closed when nothing is to be started any more
	end     sync.Once
	tended  sync.WaitGroup
	losses  atomic.Int64 // that running plugins have reported
	meters  *meters      // if nil, calls are not counted
	counted bool         // they were stopped; of who closes
}

// Open starts a process and opens its backend with config, a JSON object or nil. It passes on
// the plugin's own errors with their ConfigPath. store is the name of the store, for the log
// and metrics; it may be empty.
func (p *Plugin) Open(ctx context.Context, store string, config json.RawMessage) (*Backend, error) {
	if len(config) > p.opts.MaxFrame/2 {
		return nil, p.opts.wrap(storage.LimitError(storage.SizeLimit, "configuration bytes", int64(p.opts.MaxFrame/2), int64(len(config))))
	}
	log := p.opts.Log
	if store != "" {
		log = log.With("store", store)
	}
	b := &Backend{p: p, calls: drain.New(), store: store, config: secret.Copy(config), ended: make(chan struct{}), closing: make(chan struct{}, 1),
		time: clock.New(p.opts.Clock), life: supervise.New(p.opts.Restart, p.opts.Clock, log)}
	b.Calls.To, b.Calls.Followers = b, &carrier.Followers{Slice: p.opts.mostWait()}
	var err error
	if b.folder, err = carrier.Claim(ctx, p.opts.Dir, store, p.opts.Log); err != nil {
		return nil, p.opts.wrap(err)
	}
	r, err := p.start(ctx, b.opening(b.time.Millis()))
	if err != nil {
		b.folder.Release()
		return nil, p.opts.wrap(err)
	}
	b.info.Store(&r.info)
	if b.meters, err = b.meter(); err != nil {
		r.stop(context.WithoutCancel(ctx))
		b.folder.Release()
		return nil, p.opts.wrap(err)
	}
	b.serves(r)
	b.tended.Go(func() { b.tend(r) })
	return b, nil
}

// opening returns the arguments of a start of the backend's process, at a time in ms.
func (b *Backend) opening(now int64) opening {
	return opening{config: b.config, now: now, folder: b.folder}
}

// WhenLost registers f to be called when state was lost: as soon as the process has ended, or
// about a second after a running plugin has changed its incarnation. f must not call the
// backend.
func (b *Backend) WhenLost(f func()) { b.whenLost.Store(&f) }

// Status returns the state of the plugin.
func (b *Backend) Status() supervise.Status { return b.life.Status() }

// Transport returns the transport of calls: "frames" or "gRPC".
func (b *Backend) Transport() string {
	if r := b.run.Load(); r != nil {
		if _, plain := r.transport.(*grpcTransport); !plain {
			return "frames"
		}
	}
	return "gRPC"
}

// PID returns the number of the process, or 0 while there is none.
func (b *Backend) PID() int {
	if r := b.run.Load(); r != nil {
		return r.proc.cmd.Process.Pid
	}
	return 0
}

// Info returns the plugin's Info from its start, within the limits of a frame, with its latest
// incarnation.
func (b *Backend) Info() storage.Info { return *b.info.Load() }

// serves directs calls to r.
func (b *Backend) serves(r *run) {
	b.info.Store(&r.info)
	b.run.Store(r)
	b.life.Started()
	if r.wrong != "" {
		b.life.SetDegraded(r.wrong)
	}
}

// tend waits for the end of a run, and starts the next, until the backend is
// closed or the plugin has failed.
func (b *Backend) tend(r *run) {
	for {
		this, hung := r, b.watch(r)
		b.tended.Go(func() { b.follow(this, hung) })
		select {
		case <-b.ended:
			close(hung)
			return
		case <-r.over:
			close(hung)
		}
		b.run.Store(nil)
		if f := b.whenLost.Load(); f != nil && r.info.Caps&(storage.CapDurable|storage.CapStateless) == 0 {
			(*f)()
		}
		lost, why := r, r.cause()
		lost.stop(context.Background())
		if r = b.again(lost, why); r == nil {
			return
		}
		b.serves(r)
	}
}

// again replaces a lost run, and returns the new one, or nil if there will be none.
func (b *Backend) again(lost *run, why error) *run {
	mayStart := lost.info.Caps&(storage.CapDurable|storage.CapStateless) != 0 || b.p.opts.RestartEmpty
	going, at := b.life.Lost(why, lost.proc.out.words(), mayStart)
	for going {
		timer := time.NewTimer(max(at.Sub(b.p.opts.Clock()), 0))
		select {
		case <-b.ended:
			timer.Stop()
			return nil
		case <-timer.C:
		}
		ctx, cancel := context.WithCancel(context.Background())
		stop := make(chan struct{})
		go func() {
			select {
			case <-b.ended:
				cancel()
			case <-stop:
			}
		}()
		r, err := b.p.start(ctx, b.opening(b.time.Later()))
		close(stop)
		cancel()
		if err == nil {
			if err = carrier.Admits(b.info.Load().Caps, r.info.Caps); err == nil {
				return r
			}
			r.stop(context.Background())
		}
		going, at = b.life.Lost(err, "", true)
	}
	return nil
}

// watch kills a process that answers nothing for too long while calls are in flight. If
// callers leave sooner, it keeps a call of its own in flight. It stops when the returned
// channel is closed.
func (b *Backend) watch(r *run) chan struct{} {
	stop := make(chan struct{})
	most := b.p.opts.Call
	if most < 0 {
		return stop
	}
	const looks = 4
	b.tended.Go(func() {
		ticker := time.NewTicker(max(most/looks, time.Millisecond))
		defer ticker.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var before, missed uint64
		var asks atomic.Bool
		idle := 0
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			answers, inFlight, left := r.transport.progress()
			if answers == before && left != missed && !asks.Swap(true) {
				b.tended.Go(func() {
					defer asks.Store(false)
					b.lives(ctx, r)
				})
			}
			missed = left
			if answers != before || inFlight == 0 {
				before, idle = answers, 0
				continue
			}
			if idle++; idle > looks {
				r.ends(storage.Errorf(storage.Unavailable, "none of %d calls answered for %s; the process was killed", inFlight, most))
				r.kill()
				return
			}
		}
	})
	return stop
}

// lives asks the plugin how it is, and waits for the answer, whatever that says.
func (b *Backend) lives(ctx context.Context, r *run) {
	c := frames.Begin(abi.OpHealth, &abi.Header{Now: b.time.Millis()})
	c.Frame = abi.AppendProbe(c.Frame, storage.Liveness)
	_, _, _, _ = r.transport.ask(ctx, abi.OpHealth, c) // that it comes is what counts
	c.Free()
}

// reach returns the run that accepts calls, other than the lost one if that is not nil. It
// waits while one is being started.
func (b *Backend) reach(ctx context.Context, lost *run) (*run, error) {
	there := func() bool { r := b.run.Load(); return r != nil && r != lost }
	for {
		if r := b.run.Load(); r != nil && r != lost {
			return r, nil
		}
		if err := b.life.Wait(ctx, there); err != nil {
			return nil, b.p.opts.wrap(err)
		}
	}
}

// Kill ends the process at once, as a crash does, and starts no other. It is for tests of
// what remains. Call Close all the same.
func (b *Backend) Kill() {
	b.end.Do(func() { close(b.ended) })
	if r := b.run.Load(); r != nil {
		r.kill()
	}
	b.tended.Wait()
	b.folder.Release()
}

// Close takes no more calls, lets those in flight finish, has the plugin flush, and
// ends it. It is idempotent. Ended by ctx, or by the time that the plugin has to
// stop, it kills the plugin, and says so.
func (b *Backend) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.p.opts.Stop)
	defer cancel()
	select {
	case b.closing <- struct{}{}:
		defer func() { <-b.closing }()
	case <-ctx.Done():
		return b.p.opts.wrap(storage.ContextError(ctx))
	}
	b.calls.Shut()
	b.end.Do(func() { close(b.ended) })
	b.tended.Wait()
	var err error
	if b.meters != nil && !b.counted {
		b.counted = true
		err = b.meters.stop()
	}
	r := b.run.Swap(nil)
	b.life.Stop()
	defer b.folder.Release()
	defer b.p.sweep()
	if r == nil {
		return err
	}
	if late := b.calls.Wait(ctx); late != nil {
		err = errors.Join(err, b.p.opts.wrap(storage.Errorf(storage.Timeout, "calls in flight did not end in time; the process is killed")))
	} else if lost := r.shut(ctx); lost != nil {
		err = errors.Join(err, b.p.opts.wrap(lost))
	}
	r.stop(ctx)
	return err
}
