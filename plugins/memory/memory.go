package memory

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Backend is a store in memory. It is safe for concurrent use.
type Backend struct {
	storage.UnimplementedBackend
	info  storage.Info
	clock func() time.Time
	last  atomic.Int64 // the latest now that was seen, in ms

	mu lock
	*store
	ids    ids
	closed bool
}

// New returns an empty backend. config must be valid.
func New(config Config, env sdk.Env) *Backend {
	env = env.WithDefaults()
	b := &Backend{clock: env.Now, store: newStore(storage.FirstVersion(env.Now()), int64(config.MaxBytes))}
	b.info = storage.Info{
		Name: "memory", Version: "1", Incarnation: env.Incarnation,
		Caps: storage.CapVersions | storage.CapTTL | storage.CapExpiryOnRead | storage.CapAtomic | storage.CapCheckOnly |
			storage.CapRangeCheck | storage.CapOrdered | storage.CapReverse | storage.CapSnapshotScan |
			storage.CapSnapshotGet | storage.CapIdempotent,
		Limits: storage.Limits{Key: mostKey, Value: mostValue, Ops: mostOps, WriteBytes: writeBytes, GetKeys: 10_000,
			TTLPrecision: time.Millisecond, IDCount: idsKept},
	}
	return b
}

// now returns the clock in ms. A host's never goes back (see sdk.Env); should another, an item
// that was seen to be expired stays so.
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

// Get returns the live item at key: see [storage.Backend].
func (b *Backend) Get(_ context.Context, key []byte) (storage.Item, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	it, err := b.look(key)
	if err != nil {
		return storage.Item{}, err
	}
	n := it.valueLen()
	return storage.Item{
		Value:     b.append(make([]byte, 0, n), it, it.keyLen(), n),
		Version:   b.base + it.version(),
		ExpiresAt: expiry(it.expires()),
	}, nil
}

// look returns the live item at key, or ErrNotFound. The lock is held. The clock is not
// looked at for a key that never expires, else, as everywhere here, with the lock
// held: by a time from before or after, a key that others renew would seem to be
// absent.
func (b *Backend) look(key []byte) (item, error) {
	if b.closed {
		return nil, errClosed()
	}
	r := b.find(key)
	if r == 0 {
		return nil, storage.ErrNotFound
	}
	it := b.item(r)
	if it.expiring() && it.expiredAt(b.now()) {
		return nil, storage.ErrNotFound
	}
	return it, nil
}

// GetMany returns the live items among keys, all of one state.
func (b *Backend) GetMany(_ context.Context, keys [][]byte) ([]storage.Item, error) {
	items := make([]storage.Item, 0, min(len(keys), b.info.Limits.GetKeys))
	err := b.many(keys, nil, func(it item) { items = append(items, b.copied(it, false)) })
	if err != nil {
		return nil, err
	}
	return items, nil
}

// many finds the live items of keys, all of one state. before, if not nil, hears of
// all of them before emit of the first, and may refuse.
func (b *Backend) many(keys [][]byte, before func(all func(func(item))) error, emit func(item)) error {
	if err := b.info.Limits.CheckGetKeys(len(keys)); err != nil {
		return err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return errClosed()
	}
	now := b.now()
	all := func(visit func(item)) {
		for _, key := range keys {
			if r := b.live(key, now); r != 0 {
				visit(b.item(r))
			}
		}
	}
	if before != nil {
		if err := before(all); err != nil {
			return err
		}
	}
	all(emit)
	return nil
}

// Health is always healthy. Readiness adds how full the store is, after it has taken out
// expired items. Probes and metrics ask for it, so that expired items stop counting without a
// write.
func (b *Backend) Health(ctx context.Context, p storage.Probe) (storage.Health, error) {
	if p == storage.Readiness {
		b.collect(ctx)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return storage.Health{}, errClosed()
	}
	h := storage.Health{Status: storage.Healthy}
	if p == storage.Readiness {
		h.Details = map[string]string{
			"entries":    strconv.Itoa(b.index.count),
			"used_bytes": strconv.FormatInt(b.used, 10),
			"max_bytes":  strconv.FormatInt(b.max, 10),
		}
	}
	return h, nil
}

// How many expired items one Readiness takes out at most, and how many of them at once: in
// between, others have the lock.
const (
	collectPerHealth = 4096
	collectAtOnce    = 128
)

// collect takes out expired items, without a write.
func (b *Backend) collect(ctx context.Context) {
	for range collectPerHealth / collectAtOnce {
		b.mu.Lock()
		more := !b.closed && b.reap(b.now(), collectAtOnce)
		if !b.closed {
			b.trim(b.now())
		}
		b.mu.Unlock()
		if !more || ctx.Err() != nil {
			return
		}
	}
}

// Info returns what the backend can do.
func (b *Backend) Info() storage.Info { return b.info }

// Close drops everything. It is idempotent.
func (b *Backend) Close(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.store, b.ids = newStore(b.version, b.max), ids{}
	return nil
}

func errClosed() error { return &storage.Error{Code: storage.ShuttingDown, Layer: "memory"} }

var (
	_ storage.Backend = (*Backend)(nil)
	_ sdk.Encoded     = (*Backend)(nil)
	_ sdk.Putter      = (*Backend)(nil)
	_ sdk.Fixed       = (*Backend)(nil)
	_ sdk.Opener      = Open
)

// Quick returns true: calls wait for nothing but a lock. See [sdk.Quick].
func (b *Backend) Quick() bool { return true }

// What a write set may hold, and what an answer may be longer than that: two values
// of the largest size fit into one, with their keys.
const (
	mostKey    = 64 << 10
	mostValue  = 8 << 20
	mostOps    = 25_000
	writeBytes = 16 << 20
	wrapping   = 2 << 20
)

// Messages returns the maximum sizes of a request and of answers: see [sdk.Fixed].
func (b *Backend) Messages() (request, answers int) {
	return writeBytes + wrapping, writeBytes + wrapping
}

// Held returns the number of held bytes: see [sdk.Fixed].
func (b *Backend) Held() int64 {
	b.mu.RLock()
	n := b.held() + int64(cap(b.index.pages))*4 + b.ids.held()
	b.mu.RUnlock()
	return n
}
