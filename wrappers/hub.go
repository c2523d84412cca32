package wrappers

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"

	"github.com/plinthkv/plinth/storage"
)

// TransferMark is the key that a durable backend holds while a host transfers items into it.
// If the key exists when the backend is opened, the transfer was incomplete. A hub refuses
// any other item under this key.
var TransferMark = []byte("\x00plinth/transfer")

// Watcher is notified of every write to a backend, from whichever store. Its
// methods are called one at a time and must not call the backend or the hub.
type Watcher interface {
	// Begin is called before w is applied, End after it, with the outcome. A watcher
	// that is added while w is being applied gets both calls.
	Begin(w *storage.WriteSet)
	End(w *storage.WriteSet, err error)
	// Lost is called when the backend has lost its state.
	Lost()
}

// Watchable notifies watchers of writes. The hub of a backend implements it, and so do
// wrappers that rename keys, for the stages above them.
type Watchable interface {
	// Watch notifies w of all writes, including those in flight, until stop is called.
	Watch(w Watcher) (stop func())
}

// Hub is at the bottom of every pipeline over one backend, and notifies watchers of
// writes: a cache must drop keys that were written through any pipeline of its backend.
// The host keeps one hub per backend, for the lifetime of the backend.
type Hub struct {
	next     storage.Backend
	watched  atomic.Bool
	mu       sync.Mutex
	watchers []Watcher
	applies  map[*storage.WriteSet]struct{} // those in flight
	known    atomic.Pointer[[16]byte]       // the incarnation that watchers know
	worry    func() string
}

// NewHub returns a hub over b. It never closes b.
func NewHub(b storage.Backend) *Hub {
	h := &Hub{next: b, applies: map[*storage.WriteSet]struct{}{}}
	incarnation := b.Info().Incarnation
	h.known.Store(&incarnation)
	return h
}

// Watch notifies w of all writes, including those in flight, until stop is called.
func (h *Hub) Watch(w Watcher) (stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for apply := range h.applies {
		w.Begin(apply)
	}
	h.watchers = append(h.watchers, w)
	h.watched.Store(true)
	return func() { h.unwatch(w) }
}

func (h *Hub) unwatch(w Watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, have := range h.watchers {
		if have == w {
			h.watchers = append(h.watchers[:i:i], h.watchers[i+1:]...)
			break
		}
	}
	h.watched.Store(len(h.watchers) > 0)
}

// Worry sets f, which every health check calls: if f returns a reason, a healthy backend is
// reported as degraded with that reason. Call Worry before the hub is used.
func (h *Hub) Worry(f func() string) { h.worry = f }

// Backend returns the backend below, with notifications of every write. Pipelines are built on it.
func (h *Hub) Backend() storage.Backend { return (*hubBackend)(h) }

// StateLost notifies watchers that the backend has lost its state. Supervisors of the
// backend call it, because they know before any call does.
func (h *Hub) StateLost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.watchers {
		w.Lost()
	}
}

// same notices in a call that the backend has lost its state.
func (h *Hub) same() {
	if !h.watched.Load() {
		return
	}
	now := h.next.Info().Incarnation
	if *h.known.Load() == now {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if *h.known.Load() != now {
		h.known.Store(&now)
		for _, w := range h.watchers {
			w.Lost()
		}
	}
}

func (h *Hub) begin(w *storage.WriteSet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.applies[w] = struct{}{}
	for _, watcher := range h.watchers {
		watcher.Begin(w)
	}
}

func (h *Hub) end(w *storage.WriteSet, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.applies, w)
	for _, watcher := range h.watchers {
		watcher.End(w, err)
	}
}

// hubBackend is the hub as a backend.
type hubBackend Hub

func (b *hubBackend) hub() *Hub { return (*Hub)(b) }

func (b *hubBackend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	defer b.hub().same()
	return b.next.Get(ctx, key)
}

func (b *hubBackend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	defer b.hub().same()
	return b.next.GetMany(ctx, keys)
}

func (b *hubBackend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	defer b.hub().same()
	return b.next.Scan(ctx, q)
}

// Apply works on a copy of w's head: the hub knows applies by their address, and
// a caller may apply one write set twice at once.
func (b *hubBackend) Apply(ctx context.Context, w *storage.WriteSet) (version uint64, err error) {
	for i := range w.Ops {
		if o := &w.Ops[i]; o.Kind == storage.OpPut && len(o.Key) == len(TransferMark) && bytes.Equal(o.Key, TransferMark) {
			return 0, storage.Errorf(storage.InvalidArgument, "the key %q is the host's own", TransferMark)
		}
	}
	h, own := b.hub(), *w
	h.begin(&own)
	err = &storage.Error{Code: storage.OutcomeUnknown, Unknown: true} // should next panic
	defer func() {
		h.end(&own, err)
		h.same()
	}()
	version, err = b.next.Apply(ctx, &own)
	return version, err
}

func (b *hubBackend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	defer b.hub().same()
	health, err := b.next.Health(ctx, p)
	if err == nil && health.Status == storage.Healthy && p != storage.Liveness && b.worry != nil {
		if reason := b.worry(); reason != "" {
			health.Status, health.Reason = storage.Degraded, reason
		}
	}
	return health, err
}

func (b *hubBackend) Info() storage.Info { return b.next.Info() }

// Close does nothing: the host owns the backend.
func (b *hubBackend) Close(context.Context) error { return nil }
