package wrappers

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"

	"github.com/plinthkv/plinth/storage"
)

// TransferMark is the key that a durable backend holds while a host moves items into it: if
// it is there when the backend is opened, only a part arrived. A hub takes no other item at it.
var TransferMark = []byte("\x00plinth/transfer")

// Watcher hears of every write to a backend, whatever store it came through. Its
// methods are called one at a time and must not call the backend or the hub.
type Watcher interface {
	// Begin comes before w is applied, End after, with the outcome. A watcher
	// that comes while w is being applied is told both.
	Begin(w *storage.WriteSet)
	End(w *storage.WriteSet, err error)
	// Lost says that the backend has lost its state.
	Lost()
}

// Watchable tells watchers of writes. The hub of a backend is one; a wrapper
// that calls keys by other names is one too, for the stages above it.
type Watchable interface {
	// Watch tells w of all writes, those in flight included, until stop is called.
	Watch(w Watcher) (stop func())
}

// Hub stands at the bottom of every pipeline over one backend and tells watchers
// of writes: what a cache must drop is a property of the backend, not of the
// pipeline that the write came through. The host keeps one per backend, for as
// long as the backend lives.
type Hub struct {
	next     storage.Backend
	watched  atomic.Bool
	mu       sync.Mutex
	watchers []Watcher
	applies  map[*storage.WriteSet]struct{} // those in flight
	known    atomic.Pointer[[16]byte]       // the incarnation that watchers know
	worry    func() string
}

// NewHub is the hub over b. It never closes b.
func NewHub(b storage.Backend) *Hub {
	h := &Hub{next: b, applies: map[*storage.WriteSet]struct{}{}}
	incarnation := b.Info().Incarnation
	h.known.Store(&incarnation)
	return h
}

// Watch tells w of all writes, those in flight included, until stop is called.
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

// Worry has f asked at each health call: what it returns degrades a healthy backend, with
// that reason. It is called before the hub is used.
func (h *Hub) Worry(f func() string) { h.worry = f }

// Backend is the backend below, with every write told. Pipelines are built on it.
func (h *Hub) Backend() storage.Backend { return (*hubBackend)(h) }

// StateLost tells watchers that the backend has lost its state, for who supervises it: it
// knows before any call does.
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
