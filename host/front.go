package host

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/internal/drain"
	"github.com/plinthkv/plinth/storage"
)

// front backs a store that was handed out: the pipeline of that name in the generation that
// is in force. A call stays in the pipeline in which it began, and one that finds its
// pipeline shut goes to the next. It is safe for concurrent use.
type front struct {
	h    *Host
	slot int // in [generation.pipelines]
	name string
}

// gates count the calls in a pipeline. Writes have a gate of their own, for reads may go on
// while items move to another backend.
type gates struct {
	reads, writes *drain.Gate
	moved         chan struct{} // closed once another pipeline has taken the place of a shut one
	held          *atomic.Int64 // calls of the host that wait at a shut gate
}

func (h *Host) newGates() gates {
	return gates{drain.New(), drain.New(), make(chan struct{}), &h.held}
}

// drained waits for the calls in the pipeline to end, which no more enter.
func (g *gates) drained(ctx context.Context) error {
	g.writes.Shut()
	g.reads.Shut()
	if err := g.writes.Wait(ctx); err != nil {
		return err
	}
	return g.reads.Wait(ctx)
}

// pipeline returns the one in force.
func (f *front) pipeline() *pipeline { return f.h.live.Load().at(f.slot) }

// enter returns the pipeline in force with the gate that a call has entered, and must leave.
func (f *front) enter(ctx context.Context, write bool) (*pipeline, *drain.Gate, error) {
	for {
		g := f.h.live.Load()
		p := g.at(f.slot)
		gate := p.reads
		if write {
			gate = p.writes
		}
		if gate.Enter() {
			return p, gate, nil
		}
		if err := f.wait(ctx, g, p); err != nil {
			return nil, nil, err
		}
	}
}

// wait waits until another pipeline is in the place of p, which is shut. Nothing was done
// of a call that it refuses.
func (f *front) wait(ctx context.Context, g *generation, p *pipeline) error {
	if f.h.live.Load() != g {
		return nil
	}
	defer p.held.Add(-1)
	if p.held.Add(1) > int64(g.cfg.Reload.MaxHeld) {
		return &storage.Error{Code: storage.Unavailable, Msg: "the backend of the store is being replaced, and too many calls wait for it", RetryAfter: retryHeld}
	}
	select {
	case <-p.moved:
		return nil
	case <-ctx.Done():
		return storage.ContextError(ctx)
	}
}

func (f *front) Get(ctx context.Context, key []byte) (storage.Item, error) {
	p, gate, err := f.enter(ctx, false)
	if err != nil {
		return storage.Item{}, err
	}
	defer gate.Leave()
	return p.top.Get(ctx, key)
}

func (f *front) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	p, gate, err := f.enter(ctx, false)
	if err != nil {
		return nil, err
	}
	defer gate.Leave()
	return p.top.GetMany(ctx, keys)
}

func (f *front) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	p, gate, err := f.enter(ctx, false)
	if err != nil {
		return storage.Page{}, err
	}
	defer gate.Leave()
	return p.top.Scan(ctx, q)
}

// Changes waits in the pipeline in force. If that is shut meanwhile, the wait continues in the
// next one.
func (f *front) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	end := time.Now().Add(q.Wait)
	for {
		p, gate, err := f.enter(ctx, false)
		if err != nil {
			return storage.ChangePage{}, err
		}
		page, err, shut := changesWithin(ctx, p, gate, q)
		if !shut {
			return page, err
		}
		q.Wait = min(q.Wait, max(0, time.Until(end)))
	}
}

// changesWithin asks p for changes until its gate is shut, and leaves the gate.
func changesWithin(ctx context.Context, p *pipeline, gate *drain.Gate, q storage.ChangeQuery) (_ storage.ChangePage, err error, shut bool) {
	defer gate.Leave()
	own, done := gate.Within(ctx)
	defer done()
	page, err := p.top.Changes(own, q)
	return page, err, err != nil && own.Err() != nil && ctx.Err() == nil
}

func (f *front) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	p, gate, err := f.enter(ctx, true)
	if err != nil {
		return 0, err
	}
	defer gate.Leave()
	return p.top.Apply(ctx, w)
}

// Health of a store whose backend is being replaced is degraded: its calls wait.
func (f *front) Health(ctx context.Context, probe storage.Probe) (storage.Health, error) {
	for {
		p := f.pipeline()
		if p.reads.Enter() {
			defer p.reads.Leave()
			return p.top.Health(ctx, probe)
		}
		if f.pipeline() == p {
			return storage.Health{Status: storage.Degraded, Reason: "the backend is being replaced: calls wait", Details: map[string]string{"state": "replaced"}}, nil
		}
	}
}

// Info returns the Info of the pipeline in force.
func (f *front) Info() storage.Info { return f.pipeline().top.Info() }

// Close does nothing: the host closes the store.
func (f *front) Close(context.Context) error { return nil }

// absent stands in the place of a pipeline that there is not. Of an optional store that is
// not open it is degraded, for the host is ready without it.
type absent struct {
	why      atomic.Pointer[string]
	optional bool
}

func newAbsent(optional bool, why string) *absent {
	a := &absent{optional: optional}
	a.why.Store(&why)
	return a
}

func (a *absent) say(why error) {
	text := why.Error()
	a.why.Store(&text)
}

func (a *absent) err() error {
	return &storage.Error{Code: storage.Unavailable, Msg: *a.why.Load(), RetryAfter: laterFirst}
}

func (a *absent) Get(context.Context, []byte) (storage.Item, error) { return storage.Item{}, a.err() }

func (a *absent) GetMany(context.Context, [][]byte) ([]storage.Item, error) { return nil, a.err() }

func (a *absent) Scan(context.Context, storage.Query) (storage.Page, error) {
	return storage.Page{}, a.err()
}

func (a *absent) Changes(context.Context, storage.ChangeQuery) (storage.ChangePage, error) {
	return storage.ChangePage{}, a.err()
}

func (a *absent) Apply(context.Context, *storage.WriteSet) (uint64, error) { return 0, a.err() }

// Health asks for nothing that is not there: that a store is absent is no reason to start
// the host again.
func (a *absent) Health(_ context.Context, p storage.Probe) (storage.Health, error) {
	if p == storage.Liveness {
		return storage.Health{Status: storage.Healthy}, nil
	}
	h := storage.Health{Status: storage.Unhealthy, Reason: a.err().Error(), Details: map[string]string{"state": "unavailable"}}
	if a.optional {
		h.Status = storage.Degraded
	}
	return h, nil
}

// Info returns an empty Info.
func (a *absent) Info() storage.Info { return storage.Info{} }

// Close does nothing.
func (a *absent) Close(context.Context) error { return nil }

var errRemoved = errors.New("the store is no longer in the configuration")

// retryHeld says when a call that was not let wait may come again.
const retryHeld = 100 * time.Millisecond
