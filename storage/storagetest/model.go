package storagetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Model implements the contract as a backend that is slow, plain and obviously right. It
// does what its Info says and no more, so that it can stand for any backend. It is safe for
// concurrent use, and keeps every state that a page was cut from.
type Model struct {
	info  storage.Info
	clock func() time.Time

	mu     sync.Mutex
	now    time.Time // the latest that was seen: it never goes back
	state  state
	past   map[uint64]state
	done   map[[16]byte]applied
	closed bool

	first, noted uint64             // the versions before the first change, and of the last
	log          [][]storage.Change // of each write set, and each expiry
	changed      chan struct{}      // closed by the next change
}

// applied is an identified write set, and its outcome.
type applied struct {
	content string
	version uint64
}

// ModelInfo returns what the model can do at most, with limits that are quickly reached.
func ModelInfo() storage.Info {
	return storage.Info{
		Name: "model", Version: "1",
		Caps: storage.CapVersions | storage.CapTTL | storage.CapExpiryOnRead | storage.CapAtomic | storage.CapCheckOnly |
			storage.CapRangeCheck | storage.CapReverse | storage.CapSnapshotScan | storage.CapSnapshotGet | storage.CapIdempotent | storage.CapChanges,
		Limits: storage.Limits{Key: 1 << 10, Value: 1 << 16, Ops: 2_000, WriteBytes: 1 << 18, GetKeys: 500, TTLPrecision: time.Millisecond},
	}
}

// NewModel returns an empty model with the capabilities and limits of info.
func NewModel(clock func() time.Time, info storage.Info) *Model {
	m := &Model{info: info, clock: clock, now: clock(), past: map[uint64]state{}, done: map[[16]byte]applied{}, changed: make(chan struct{})}
	if info.Caps.Has(storage.CapVersions) {
		m.state.version = storage.FirstVersion(m.now)
		m.first, m.noted = m.state.version, m.state.version
	}
	return m
}

// lock locks, and looks at the clock.
func (m *Model) lock() error {
	m.mu.Lock()
	if now := m.clock().Truncate(time.Millisecond); now.After(m.now) {
		m.now = now
	}
	if m.closed {
		return storage.ErrShuttingDown
	}
	return nil
}

// answer returns an item as a caller gets it.
func (m *Model) answer(it storage.Item, keyOnly bool) storage.Item {
	it.Key, it.Value = copied(it.Key), copied(it.Value)
	if keyOnly {
		it.Value = nil
	}
	if !m.info.Caps.Has(storage.CapExpiryOnRead) {
		it.ExpiresAt = time.Time{}
	}
	return it
}

// Get returns the live item at key.
func (m *Model) Get(_ context.Context, key []byte) (storage.Item, error) {
	defer m.mu.Unlock()
	if err := m.lock(); err != nil {
		return storage.Item{}, err
	}
	it, ok := m.state.get(key, m.now)
	if !ok {
		return storage.Item{}, storage.ErrNotFound
	}
	return m.answer(it, false), nil
}

// GetMany returns the live items among keys, of one state.
func (m *Model) GetMany(_ context.Context, keys [][]byte) ([]storage.Item, error) {
	defer m.mu.Unlock()
	if err := m.lock(); err != nil {
		return nil, err
	}
	if err := m.info.Limits.CheckGetKeys(len(keys)); err != nil {
		return nil, err
	}
	var items []storage.Item
	for _, key := range keys {
		if it, ok := m.state.get(key, m.now); ok {
			items = append(items, m.answer(it, false))
		}
	}
	return items, nil
}

// modelPage is how many items a page has at most.
const modelPage = 100

// Scan returns one page.
func (m *Model) Scan(_ context.Context, q storage.Query) (storage.Page, error) {
	defer m.mu.Unlock()
	if err := m.lock(); err != nil {
		return storage.Page{}, err
	}
	if err := q.Validate(); err != nil {
		return storage.Page{}, err
	}
	if q.Reverse && !m.info.Caps.Has(storage.CapReverse) || q.AtVersion != 0 && !m.info.Caps.Has(storage.CapSnapshotScan) {
		return storage.Page{}, storage.ErrUnsupported
	}
	s := m.state
	if q.AtVersion != 0 && q.AtVersion != s.version {
		var kept bool
		if s, kept = m.past[q.AtVersion]; !kept {
			return storage.Page{}, storage.Errorf(storage.Conflict, "version %d is not kept", q.AtVersion)
		}
	}
	page := m.page(s.within(q.Start, q.End, m.now), q)
	page.Version = s.version
	if page.Next != nil && m.info.Caps.Has(storage.CapSnapshotScan) {
		m.past[s.version] = s
	}
	return page, nil
}

// page returns as many of items as q wants.
func (m *Model) page(items []storage.Item, q storage.Query) (page storage.Page) {
	if q.Reverse {
		slices.Reverse(items)
	}
	limit, bytes := q.Limit, q.MaxBytes
	if limit == 0 || limit > modelPage {
		limit = modelPage
	}
	for i, it := range items {
		size := len(it.Key)
		if !q.KeysOnly {
			size += len(it.Value)
		}
		if i == limit || i > 0 && q.MaxBytes > 0 && size > bytes {
			if page.Next = copied(it.Key); q.Reverse {
				page.Next = storage.After(it.Key)
			}
			break
		}
		bytes -= size
		page.Items = append(page.Items, m.answer(it, q.KeysOnly))
	}
	return page
}

// Apply does all of w or nothing.
func (m *Model) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	defer m.mu.Unlock()
	if err := m.lock(); err != nil {
		return 0, err
	}
	if err := w.Validate(&m.info); err != nil {
		return 0, err
	}
	if err := storage.ContextError(ctx); err != nil {
		return 0, err
	}
	content := contentOf(w)
	if before, ok := m.done[w.ID]; ok {
		if before.content != content {
			return 0, storage.Errorf(storage.InvalidArgument, "the ID was used for another content")
		}
		return before.version, nil
	}
	if i := m.state.failing(w.Checks, m.now); i >= 0 {
		return 0, storage.ConflictAt(i)
	}
	version := m.state.version
	if m.info.Caps.Has(storage.CapVersions) {
		version++
	}
	m.state = m.state.apply(w.Ops, m.now, version)
	m.change(w.Ops, m.state.version)
	if w.ID != [16]byte{} {
		m.done[w.ID] = applied{content, m.state.version}
	}
	return m.state.version, nil
}

// Health always reports healthy.
func (m *Model) Health(context.Context, storage.Probe) (storage.Health, error) {
	defer m.mu.Unlock()
	if err := m.lock(); err != nil {
		return storage.Health{}, err
	}
	return storage.Health{Status: storage.Healthy}, nil
}

// Info returns the info that the model was made with.
func (m *Model) Info() storage.Info { return m.info }

// Close drops everything.
func (m *Model) Close(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.state, m.past, m.done = state{}, nil, nil
	return nil
}

var _ storage.Backend = (*Model)(nil)

// contentOf returns a text that differs for write sets with different contents.
func contentOf(w *storage.WriteSet) string {
	var b strings.Builder
	for _, c := range w.Checks {
		fmt.Fprintf(&b, "%d %q %q %t %q %d;", c.Kind, c.Key, c.End, c.End == nil, c.Value, c.Version)
	}
	for _, o := range w.Ops {
		fmt.Fprintf(&b, "%d %q %q %t %q %s;", o.Kind, o.Key, o.End, o.End == nil, o.Value, storage.ClampExpiry(o.ExpiresAt))
	}
	return b.String()
}
