package wrappers

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// TransferMark is the key that a durable backend holds while a host transfers items into
// it. If the key exists when the backend is opened, the transfer was incomplete. A hub
// refuses any other item under this key.
var TransferMark = []byte("\x00plinth/transfer")

// ExpiryMark is the key that a hub puts and deletes in one write set, so that the expiry of
// other items has a version. No reader ever sees an item under it.
var ExpiryMark = []byte("\x00plinth/expiry")

// Watcher hears of every write to a backend, from whichever store. Its methods are called
// one at a time and must not call the backend or the hub.
type Watcher interface {
	// Begin is called before w is applied, End after it, with the outcome. A watcher
	// that is added while w is being applied gets both calls.
	Begin(w *storage.WriteSet)
	End(w *storage.WriteSet, err error)
	// Others is called with what others wrote to the backend, after they did, without
	// values: see Following.
	Others(w *storage.WriteSet)
	// Lost is called when the backend has lost its state.
	Lost()
}

// Watchable notifies watchers of writes. The hub of a backend implements it, and so do
// wrappers that rename keys, for the stages above them.
type Watchable interface {
	// Watch notifies w of all writes, including those in flight, until stop is called.
	Watch(w Watcher) (stop func())
}

// Hub sits at the bottom of every pipeline over one backend, and notifies watchers of
// writes: a cache must drop keys that were written through any pipeline of its backend. The
// host keeps one hub per backend, for the lifetime of the backend.
type Hub struct {
	next      storage.Backend
	watched   atomic.Bool
	mu        sync.Mutex
	watchers  []Watcher
	first     *flight // of those under way, in the order in which they began
	latest    *flight
	known     atomic.Pointer[[16]byte] // the incarnation that watchers know
	worry     func() string
	clock     func() time.Time // if nil, the hub keeps no changes
	ring      *ring            // nil if there are no followers
	following atomic.Bool      // there is a ring
	feed      Feed
	shared    bool // others write to the backend, too
	others    others
}

// NewHub returns a hub over b. It never closes b.
func NewHub(b storage.Backend) *Hub {
	h := &Hub{next: b}
	incarnation := b.Info().Incarnation
	h.known.Store(&incarnation)
	return h
}

// Watch notifies w of all writes, including those in flight, until stop is called.
func (h *Hub) Watch(w Watcher) (stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := h.first; f != nil; f = f.next {
		w.Begin(&f.set)
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
	h.watched.Store(len(h.watchers) > 0 || h.ring != nil)
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
	h.lost()
}

// lost notifies all watchers that the state is gone. The lock is held.
func (h *Hub) lost() {
	h.drop()
	for _, w := range h.watchers {
		w.Lost()
	}
}

// same notices in a call that the backend has lost its state.
func (h *Hub) same() {
	if !h.watched.Load() {
		return
	}
	if now := h.next.Info().Incarnation; *h.known.Load() != now {
		h.changedTo(now)
	}
}

func (h *Hub) changedTo(now [16]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if *h.known.Load() != now {
		h.known.Store(&now)
		h.lost()
	}
}

// flight is an apply under way.
type flight struct {
	set        storage.WriteSet // with a head of its own: a caller may apply one write set twice at once
	prev, next *flight
	floor      uint64     // what had ended when it began, as the ring knows: its version, if it gets one, is above
	burns      []expiring // what expires by it
}

// begin notes that an apply begins. The lock is held.
func (h *Hub) begin(f *flight) {
	if f.prev = h.latest; f.prev == nil {
		h.first = f
	} else {
		f.prev.next = f
	}
	h.latest = f
	if h.ring != nil {
		f.floor = h.ring.ended
	}
	for _, watcher := range h.watchers {
		watcher.Begin(&f.set)
	}
}

// end notes how an apply ended.
func (h *Hub) end(f *flight, version uint64, err error) {
	var made *encoded
	size := 0
	if err == nil && h.following.Load() {
		if size = plain(&f.set); size == 0 {
			made = h.encode(&f.set) // before the lock, for which others wait
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.prev == nil {
		h.first = f.next
	} else {
		f.prev.next = f.next
	}
	if f.next == nil {
		h.latest = f.prev
	} else {
		f.next.prev = f.prev
	}
	if h.ring != nil && !(size > 0 && h.ring.next(h, f, version, size)) {
		h.ended(f, version, err, made)
	}
	for _, watcher := range h.watchers {
		watcher.End(&f.set, err)
	}
}

// hubBackend makes a backend of the hub.
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

func (b *hubBackend) Apply(ctx context.Context, w *storage.WriteSet) (version uint64, err error) {
	for i := range w.Ops {
		if o := &w.Ops[i]; o.Kind == storage.OpPut && reserved(o.Key) {
			return 0, storage.Errorf(storage.InvalidArgument, "the key %q is the host's own", o.Key)
		}
	}
	return b.hub().apply(ctx, w)
}

// reserved reports whether key is the host's own.
func reserved(key []byte) bool {
	return len(key) > 0 && key[0] == 0 && (bytes.Equal(key, TransferMark) || bytes.Equal(key, ExpiryMark))
}

// errPanicked is the error of an apply that panics, for watchers. It is made once, because it
// is not seen otherwise.
var errPanicked error = &storage.Error{Code: storage.OutcomeUnknown, Unknown: true}

func (h *Hub) apply(ctx context.Context, w *storage.WriteSet) (version uint64, err error) {
	f := &flight{set: *w}
	h.mu.Lock()
	h.begin(f)
	h.mu.Unlock()
	err = errPanicked
	defer func() {
		h.end(f, version, err)
		h.same()
	}()
	version, err = h.next.Apply(ctx, &f.set)
	return version, err
}

// Changes returns what the hub keeps, or what the backend does if it has changes itself.
func (b *hubBackend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	defer b.hub().same()
	return b.hub().changes(ctx, q)
}

func (b *hubBackend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	defer b.hub().same()
	health, err := b.next.Health(ctx, p)
	if err == nil && health.Status == storage.Healthy && p != storage.Liveness {
		if reason := b.hub().worries(); reason != "" {
			health.Status, health.Reason = storage.Degraded, reason
		}
	}
	return health, err
}

// worries returns why a healthy backend is reported as degraded, or "" if it is not.
func (h *Hub) worries() string {
	if h.worry != nil {
		if reason := h.worry(); reason != "" {
			return reason
		}
	}
	return h.others.behind()
}

// Info returns the backend's, with the changes that the hub keeps. It leaves out that
// the backend reports that it changed, but not what: such notices are for the hub, and
// are about others than this host, whose stores may have several users.
func (b *hubBackend) Info() storage.Info {
	info := b.next.Info()
	if b.hub().keeps(info.Caps) {
		info.Caps |= storage.CapChanges
		info.Limits.Changes = mostChanges
	}
	info.Caps &^= storage.CapChangeNotice
	return info
}

// Close does nothing: the host owns the backend.
func (b *hubBackend) Close(context.Context) error { return nil }
