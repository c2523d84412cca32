package memory

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/tidwall/btree"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// Backend is a store in memory. It is safe for concurrent use.
type Backend struct {
	storage.UnimplementedBackend
	info  storage.Info
	max   int64 // bytes that may be stored
	clock func() time.Time
	last  atomic.Int64 // the latest now that was seen, in ms

	mu sync.RWMutex
	state
	snapshots snapshots
	ids       ids
	closed    bool
}

// state is the store at one version. The index answers reads of a key, the tree
// those of a range; it is copied on write, so that keeping an old one costs what
// changed since.
type state struct {
	index     map[string]*entry
	tree      *btree.Map[string, *entry]
	deadlines *btree.BTreeG[*entry] // the entries that expire, soonest first
	version   uint64
	used      int64 // bytes, as size counts them
}

// entry is an item. It never changes: a write puts another in its place.
type entry struct {
	key     string // within item, as value is
	item    []byte // the item as the ABI has it: key, value, version, expiry
	version uint64
	expires int64 // ms since 1970; 0: never
	// Where in item the field of the key ends, and the value, with its field.
	keyEnd, value, valueEnd uint32
}

func (e *entry) bytes() []byte { return e.item[e.value:e.valueEnd] }

// degree is the btree's: wide nodes for few cache misses, narrow ones for cheap
// copies.
const degree = 16

// What an entry takes beyond its key and value: itself, its slots in index and
// tree at a usual filling, the wrapping of its message, and rounding by the
// allocator; and its slot among the deadlines.
const (
	entryOverhead    = 240
	deadlineOverhead = 32
)

// size is what e counts against the budget, in bytes.
func (e *entry) size() int64 {
	n := int64(len(e.key)) + int64(e.valueEnd-e.value) + entryOverhead
	if e.expires != 0 {
		n += deadlineOverhead
	}
	return n
}

func (e *entry) expiredAt(now int64) bool { return e.expires != 0 && e.expires <= now }

func (e *entry) expiresAt() time.Time {
	if e.expires == 0 {
		return time.Time{}
	}
	return time.UnixMilli(e.expires).UTC()
}

// New makes an empty backend. config must be valid.
func New(config Config, env sdk.Env) *Backend {
	env = env.WithDefaults()
	b := &Backend{max: int64(config.MaxBytes), clock: env.Now}
	b.state = newState(storage.FirstVersion(env.Now()))
	b.info = storage.Info{
		Name: "memory", Version: "1", Incarnation: env.Incarnation,
		Caps: storage.CapVersions | storage.CapTTL | storage.CapExpiryOnRead | storage.CapAtomic | storage.CapCheckOnly |
			storage.CapRangeCheck | storage.CapOrdered | storage.CapReverse | storage.CapSnapshotScan |
			storage.CapSnapshotGet | storage.CapIdempotent,
		Limits: storage.Limits{Key: 64 << 10, Value: 8 << 20, Ops: 25_000, WriteBytes: 16 << 20, GetKeys: 10_000,
			TTLPrecision: time.Millisecond, IDCount: idsKept},
	}
	return b
}

func newState(version uint64) state {
	return state{
		index:     map[string]*entry{},
		tree:      btree.NewMap[string, *entry](degree),
		deadlines: btree.NewBTreeGOptions(sooner, btree.Options{NoLocks: true, Degree: degree}),
		version:   version,
	}
}

func sooner(a, b *entry) bool {
	if a.expires != b.expires {
		return a.expires < b.expires
	}
	return a.key < b.key
}

// now is the clock in ms, which never goes back: an item that was seen to be
// expired stays so.
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

// Get answers the live item at key: see [storage.Backend].
func (b *Backend) Get(_ context.Context, key []byte) (storage.Item, error) {
	e, err := b.find(key)
	if err != nil {
		return storage.Item{}, err
	}
	return storage.Item{
		Value:     append(make([]byte, 0, len(e.bytes())), e.bytes()...),
		Version:   e.version,
		ExpiresAt: e.expiresAt(),
	}, nil
}

// find is the live entry at key, or ErrNotFound. The clock is not looked at for
// a key that never expires, else, as everywhere here, with the lock held: by a
// time from before or after, a key that others renew would seem to be absent.
func (b *Backend) find(key []byte) (*entry, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return nil, errClosed()
	}
	e := b.index[string(key)]
	if e == nil || e.expires != 0 && e.expiredAt(b.now()) {
		return nil, storage.ErrNotFound
	}
	return e, nil
}

// live is the entry at key, nil where there is none or it has expired.
func (s *state) live(key []byte, now int64) *entry {
	if e := s.index[string(key)]; e != nil && !e.expiredAt(now) {
		return e
	}
	return nil
}

// borrow is key as a string for a look into the tree, which does not keep it.
func borrow(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

// GetMany answers the live items among keys, all of one state.
func (b *Backend) GetMany(_ context.Context, keys [][]byte) ([]storage.Item, error) {
	items := make([]storage.Item, 0, min(len(keys), b.info.Limits.GetKeys))
	err := b.many(keys, func(e *entry) { items = append(items, e.copied(false)) })
	if err != nil {
		return nil, err
	}
	return items, nil
}

// many finds the live entries of keys, all of one state.
func (b *Backend) many(keys [][]byte, emit func(*entry)) error {
	if err := b.info.Limits.CheckGetKeys(len(keys)); err != nil {
		return err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return errClosed()
	}
	now := b.now()
	for _, key := range keys {
		if e := b.live(key, now); e != nil {
			emit(e)
		}
	}
	return nil
}

// copied is e for a caller, its key and value in one allocation.
func (e *entry) copied(keyOnly bool) storage.Item {
	it := storage.Item{Version: e.version, ExpiresAt: e.expiresAt()}
	if keyOnly {
		it.Key = []byte(e.key)
		return it
	}
	n := len(e.key)
	buf := make([]byte, n, n+len(e.bytes()))
	copy(buf, e.key)
	it.Key, it.Value = buf[:n:n], append(buf, e.bytes()...)[n:]
	return it
}

// Health is always healthy. Readiness adds how full the store is.
func (b *Backend) Health(_ context.Context, p storage.Probe) (storage.Health, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return storage.Health{}, errClosed()
	}
	h := storage.Health{Status: storage.Healthy}
	if p == storage.Readiness {
		h.Details = map[string]string{
			"entries":    strconv.Itoa(b.tree.Len()),
			"used_bytes": strconv.FormatInt(b.used, 10),
			"max_bytes":  strconv.FormatInt(b.max, 10),
		}
	}
	return h, nil
}

// Info says what the backend can do.
func (b *Backend) Info() storage.Info { return b.info }

// Close drops everything. It is idempotent.
func (b *Backend) Close(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.state = newState(b.version)
	b.snapshots, b.ids = snapshots{}, ids{}
	return nil
}

func errClosed() error { return &storage.Error{Code: storage.ShuttingDown, Layer: "memory"} }

// equal compares a stored value with one that a check names.
func (e *entry) equal(value []byte) bool { return bytes.Equal(e.bytes(), value) }

var (
	_ storage.Backend = (*Backend)(nil)
	_ sdk.Encoded     = (*Backend)(nil)
	_ sdk.Opener      = Open
)

// Quick is true: no call waits for anything but a lock. See [sdk.Quick].
func (b *Backend) Quick() bool { return true }
