package cache

import (
	"context"
	"errors"
	"sync/atomic"
	"unsafe"

	"github.com/maypok86/otter/v2"
	"go.opentelemetry.io/otel/attribute"

	"github.com/plinthkv/plinth/internal/clock"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// Backend serves reads from memory if it can. It is safe for concurrent use.
type Backend struct {
	next storage.Backend
	*memory
	closed atomic.Bool
}

// memory holds what a cache keeps. Caches that follow each other over the same items share
// one.
type memory struct {
	hub     wrappers.Watchable
	users   atomic.Int64 // caches that are not closed
	config  Config
	clock   *clock.Clock
	entries kept
	guard   *guard
	stop    func()              // stops watching the hub
	fresh   *wrappers.Freshness // of what others wrote, or nil if they are not followed
	meters  []func()            // stop being observed

	hits, misses, evictions atomic.Uint64
}

// entry holds what is known of a key. It never changes.
type entry struct {
	item    storage.Item // without its key
	present bool
	until   int64 // ms since 1970: when it is no longer believed
}

// entryOverhead is what an entry takes beyond its key and value, in bytes.
const entryOverhead = 240

func weight(key string, e *entry) uint32 {
	return uint32(len(key) + len(e.item.Value) + entryOverhead)
}

// New returns a cache over next. s.Hub notifies it of writes.
func New(next storage.Backend, c Config, s wrappers.Settings) (*Backend, error) {
	if s.Hub == nil {
		return nil, errors.New("a cache needs the hub of its backend")
	}
	if before, ok := s.Before.(*Backend); ok && before.hub == s.Hub && before.memory.join() {
		return &Backend{next: next, memory: before.memory}, nil
	}
	b := &memory{hub: s.Hub, config: c, clock: clock.New(s.Clock), entries: kept{index: &index{}}}
	b.users.Store(1)
	entries, err := otter.New(&otter.Options[string, *entry]{MaximumWeight: uint64(c.MaxBytes), Weigher: weight,
		OnAtomicDeletion: func(e otter.DeletionEvent[string, *entry]) {
			if e.Cause == otter.CauseOverflow {
				b.evictions.Add(1)
			}
			if e.Cause != otter.CauseReplacement {
				b.entries.index.remove(e.Key)
			}
		}})
	if err != nil {
		return nil, err
	}
	b.entries.Cache = entries
	if err := b.measure(s); err != nil {
		b.unmeasure()
		return nil, err
	}
	b.guard = newGuard(b.entries, c.UnknownHold, b.clock.Millis, next.Info().Caps)
	b.watch(s.Hub)
	return &Backend{next: next, memory: b}, nil
}

// watch has the guard notified of writes: of those through this host, and of those of others
// if they can be followed.
func (b *memory) watch(hub wrappers.Watchable) {
	b.stop = hub.Watch(b.guard)
	shared, ok := hub.(wrappers.Following)
	if !ok || b.config.Staleness == 0 {
		return
	}
	fresh, end := shared.Follow(b.config.Staleness)
	unwatch := b.stop
	b.fresh, b.stop = fresh, func() { end(); unwatch() }
}

// current reports whether entries may be believed: what others wrote was heard of.
func (b *memory) current() bool { return b.fresh == nil || b.fresh.Age() <= b.config.Staleness }

// join counts one more cache. It returns false if the last of them is closed.
func (b *memory) join() bool {
	for {
		n := b.users.Load()
		if n == 0 {
			return false
		}
		if b.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// measure has what the cache counts anyway observed.
func (b *memory) measure(s wrappers.Settings) error {
	total := func(of *atomic.Uint64) func() int64 { return func() int64 { return int64(of.Load()) } }
	const lookups, asked = "plinth.cache.lookups", "Keys that were looked for in the cache."
	hit, err1 := s.Total(lookups, "{lookup}", asked, total(&b.hits), attribute.String("plinth.cache.result", "hit"))
	miss, err2 := s.Total(lookups, "{lookup}", asked, total(&b.misses), attribute.String("plinth.cache.result", "miss"))
	evictions, err3 := s.Total("plinth.cache.evictions", "{entry}", "Entries that were dropped for want of room.", total(&b.evictions))
	entries, err4 := s.Gauge("plinth.cache.entries", "{entry}", "Entries in the cache.", func() int64 { return int64(b.entries.EstimatedSize()) })
	size, err5 := s.Gauge("plinth.cache.size", "By", "Bytes of the cache's entries, with what it takes to keep them.", func() int64 { return int64(b.entries.WeightedSize()) })
	b.meters = []func(){hit, miss, evictions, entries, size}
	return errors.Join(err1, err2, err3, err4, err5)
}

func (b *memory) unmeasure() {
	for _, stop := range b.meters {
		stop()
	}
}

// borrow returns key as a string for a lookup, which does not keep it.
func borrow(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

// Get returns an item from memory, or else from the next backend. A hit allocates only the value.
func (b *Backend) Get(ctx context.Context, key []byte) (storage.Item, error) {
	if e, ok := b.entries.GetIfPresent(borrow(key)); ok && b.clock.Millis() < e.until && b.current() {
		b.hits.Add(1)
		return e.answer()
	}
	b.misses.Add(1)
	return b.miss(ctx, key)
}

// answer returns a copy for a caller.
func (e *entry) answer() (storage.Item, error) {
	if !e.present {
		return storage.Item{}, storage.ErrNotFound
	}
	it := e.item
	it.Value = append(make([]byte, 0, len(it.Value)), it.Value...)
	return it, nil
}

// miss reads from below. Of those who miss a key together, one reads.
func (b *Backend) miss(ctx context.Context, key []byte) (storage.Item, error) {
	asked := b.clock.Millis()
	f, leads := b.guard.begin(key)
	switch {
	case f == nil: // nothing that is read now can be kept
		return b.next.Get(ctx, key)
	case !leads:
		select {
		case <-f.done:
		case <-ctx.Done():
			return storage.Item{}, storage.ContextError(ctx)
		}
		if f.entry == nil || asked > f.until { // it failed, perhaps for a reason of its caller's own, or began too long ago
			return b.next.Get(ctx, key)
		}
		return f.entry.answer()
	}
	defer b.guard.end(f) // also when next panics: others wait for it
	started := b.clock.Millis()
	f.until = started
	if e, ok := b.entries.GetIfPresent(f.key); ok && started < e.until && b.current() { // filled since the caller looked
		f.entry = e
		return e.answer()
	}
	it, err := b.next.Get(ctx, key)
	if err == nil || errors.Is(err, storage.ErrNotFound) {
		f.entry = b.entry(it, err == nil, started)
	}
	return it, err
}

// entry returns what is kept of an item that belongs to a caller.
func (b *memory) entry(it storage.Item, present bool, now int64) *entry {
	e := &entry{present: present, until: now + b.config.NegativeTTL.Milliseconds()}
	if present {
		e.item = it
		e.item.Key = nil
		e.item.Value = append(make([]byte, 0, len(it.Value)), it.Value...)
		e.until = now + b.config.TTL.Milliseconds()
		if !it.ExpiresAt.IsZero() {
			e.until = min(e.until, it.ExpiresAt.UnixMilli())
		}
	}
	return e
}

// GetMany bypasses the cache, so that its result is one view.
func (b *Backend) GetMany(ctx context.Context, keys [][]byte) ([]storage.Item, error) {
	b.clock.Millis() // what it shows to be expired, Get does not bring back
	return b.next.GetMany(ctx, keys)
}

// Scan bypasses the cache, so that its result is one view.
func (b *Backend) Scan(ctx context.Context, q storage.Query) (storage.Page, error) {
	b.clock.Millis() // as in GetMany
	return b.next.Scan(ctx, q)
}

// Changes calls the next backend.
func (b *Backend) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	return b.next.Changes(ctx, q)
}

// Apply calls the next backend. The hub at the bottom notifies every cache, including this one.
func (b *Backend) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	return b.next.Apply(ctx, w)
}

// Health calls the next backend.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	return b.next.Health(ctx, p)
}

// Info returns the next backend's info.
func (b *Backend) Info() storage.Info { return b.next.Info() }

// Close forgets everything, unless another cache goes on with it. Later reads, from a
// caller who was late, go to the backend. It is idempotent.
func (b *Backend) Close(context.Context) error {
	if b.closed.Swap(true) || b.users.Add(-1) > 0 {
		return nil
	}
	b.stop()
	b.unmeasure()
	b.guard.close()
	b.entries.StopAllGoroutines()
	return nil
}

// Stats holds counts of a cache.
type Stats struct{ Hits, Misses, Evictions, Entries, Bytes uint64 }

// Stats returns the counts since the start.
func (b *Backend) Stats() Stats {
	return Stats{b.hits.Load(), b.misses.Load(), b.evictions.Load(), uint64(b.entries.EstimatedSize()), b.entries.WeightedSize()}
}

var _ storage.Backend = (*Backend)(nil)
