package native

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/abi"
	"github.com/plinthkv/plinth/internal/abi/answer"
	"github.com/plinthkv/plinth/internal/carrier"
	"github.com/plinthkv/plinth/internal/drain"
	"github.com/plinthkv/plinth/internal/supervise"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/secret"
	"github.com/plinthkv/plinth/storage"
)

// Backend wraps an opened backend of this process, which is opened anew when it is lost. It
// is safe for concurrent use.
type Backend struct {
	n      *native
	config *secret.Value
	log    *slog.Logger
	folder *carrier.Folder
	life   *supervise.Life
	spans  *carrier.Spans

	now      atomic.Pointer[instance] // nil if it was lost or is closed
	closed   atomic.Bool
	info     atomic.Pointer[storage.Info]
	whenLost atomic.Pointer[func()]
	left     atomic.Pointer[chan struct{}] // closed when the last lost instance has been closed; nil if none was lost
	opening  chan struct{}                 // of one: of who opens, or closes
	stop     func() error                  // ends the metrics, or nil
	counts   *atomic.Int64                 // of calls; nil if they are not counted
}

// instance is an opened backend, and the calls in it.
type instance struct {
	storage.Backend
	calls *drain.Gate
}

// Open opens the backend of a store.
func (n *native) Open(ctx context.Context, store string, config carrier.Config) (carrier.Backend, error) {
	raw, err := config.JSON()
	if err != nil {
		return nil, err
	}
	log := n.plugin.Log.With("plugin", n.plugin.Name)
	if store != "" {
		log = log.With("store", store)
	}
	b := &Backend{n: n, config: secret.New(raw), log: log, life: supervise.New(n.config.Restart.Policy(), n.plugin.Clock, log),
		opening: make(chan struct{}, 1), spans: carrier.NewSpans(n.plugin.Tracer, scope, carrier.Native, n.plugin.Name)}
	dir := n.config.Grants.Dir
	if dir != "" {
		dir = n.plugin.Path(dir)
	}
	if b.folder, err = carrier.Claim(ctx, dir, store, log); err != nil {
		return nil, b.Wrap(err)
	}
	in, err := b.open(ctx)
	if err != nil {
		b.folder.Release()
		return nil, b.Wrap(err)
	}
	if err := b.meter(store); err != nil {
		err = errors.Join(b.Wrap(err), in.Close(context.WithoutCancel(ctx)))
		b.folder.Release()
		return nil, err
	}
	b.serves(in)
	return b, nil
}

// scope is the instrumentation scope of what the carrier emits.
const scope = "github.com/plinthkv/plinth/host"

// meter has the backend observed.
func (b *Backend) meter(store string) (err error) {
	if b.n.plugin.Meter == nil {
		return nil
	}
	b.counts = new(atomic.Int64)
	b.stop, err = carrier.Observe(b.n.plugin.Meter, scope, carrier.Attributes(b.n.plugin.Name, store), b.Status, b.counts.Load)
	return err
}

// configuration returns a copy, which is the backend's.
func (b *Backend) configuration() (raw json.RawMessage) {
	b.config.Use(func(config []byte) { raw = append(raw, config...) })
	return raw
}

// env returns what the backend is opened with.
func (b *Backend) env() sdk.Env {
	e := sdk.Env{Name: b.n.plugin.Name, Config: b.configuration(), Now: b.n.plugin.Clock, Log: b.log}
	if b.folder != nil {
		e.Dir = b.folder.Path
	}
	_, _ = rand.Read(e.Incarnation[:]) // it does not fail
	return e
}

// open opens an instance.
func (b *Backend) open(ctx context.Context) (in *instance, err error) {
	defer caught(&err)
	backend, err := b.n.plugin.Linked.Open(ctx, b.env())
	switch {
	case err != nil:
		return nil, err
	case backend == nil:
		return nil, storage.Errorf(storage.Internal, "the opener returned no backend")
	}
	in = &instance{backend, drain.New()}
	info := in.Info()
	if err := answer.Info(&info); err != nil {
		return nil, errors.Join(storage.Errorf(storage.InvalidArgument, "%w", err), in.Close(ctx))
	}
	return in, nil
}

// serves has calls go to in.
func (b *Backend) serves(in *instance) {
	info := in.Info()
	b.info.Store(&info)
	b.now.Store(in)
	b.life.Started()
}

// caught makes a panic an error.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = panicked(p)
	}
}

// panicError is a panic of the backend.
type panicError struct {
	error
	stack []byte
}

func panicked(p any) error {
	return &panicError{fmt.Errorf("panic: %.500s", abi.Printable(fmt.Sprint(p))), debug.Stack()}
}

// WhenLost has f called as soon as an instance is lost whose state went with it. f must
// not call the backend.
func (b *Backend) WhenLost(f func()) { b.whenLost.Store(&f) }

// Wrap returns an error as the plugin's.
func (b *Backend) Wrap(err error) error { return carrier.Wrap(b.n.plugin.Name, err) }

// Known returns what the backend said of itself when it was opened.
func (b *Backend) Known() *storage.Info { return b.info.Load() }

// closeTime limits how long an instance that was lost may take to close before another is
// opened.
const closeTime = 10 * time.Second

// lost throws an instance away whose call has panicked, and notes what follows.
func (b *Backend) lost(in *instance, why error) {
	if !b.now.CompareAndSwap(in, nil) {
		return // another call did
	}
	var p *panicError
	if errors.As(why, &p) {
		b.log.Error("panic in plugin", "error", p.error, "stack", string(p.stack))
	}
	survives := b.Known().Caps&(storage.CapDurable|storage.CapStateless) != 0
	if f := b.whenLost.Load(); f != nil && !survives {
		(*f)()
	}
	left := make(chan struct{})
	b.left.Store(&left)
	go func() {
		defer close(left)
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		in.calls.Shut()
		_ = in.calls.Wait(ctx) // a call that hangs for the lock of the one that has panicked
		if err := in.shut(ctx); err != nil {
			b.log.Warn("close lost instance", "error", err)
		}
	}()
	b.life.Lost(why, "", survives || b.n.config.Restarts())
}

// shut closes the instance, whatever state it is in.
func (in *instance) shut(ctx context.Context) (err error) {
	defer caught(&err)
	return in.Close(ctx)
}
