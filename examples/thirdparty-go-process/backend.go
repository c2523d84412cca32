package main

import (
	"bytes"
	"context"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// config holds the "config" of the host's YAML.
type config struct {
	Path string `json:"path"` // of the journal, from the working directory
}

// backend keeps items in a map, and every write in a journal. A host calls it for
// many things at once.
type backend struct {
	storage.UnimplementedBackend
	env  sdk.Env
	info storage.Info

	mu      sync.Mutex
	items   map[string]storage.Item
	version uint64
	journal *journal
	broken  error // why journal and map differ, or nil
}

func configured(env sdk.Env) (config, error) {
	c := config{Path: "journal.data"}
	if err := sdk.DecodeConfig(env.Config, &c); err != nil {
		return c, err
	}
	if c.Path == "" {
		return c, sdk.ConfigErrorf("path", "is empty")
	}
	return c, nil
}

// info returns what every backend of this kind is, but for its incarnation.
func info() storage.Info {
	return storage.Info{
		Name: "journal", Version: "1",
		Caps: storage.CapVersions | storage.CapTTL | storage.CapExpiryOnRead | storage.CapAtomic | storage.CapCheckOnly |
			storage.CapReverse | storage.CapSnapshotGet | storage.CapDurable,
		Limits: storage.Limits{Key: 1 << 10, Value: 1 << 20, Ops: 1000, WriteBytes: 4 << 20, GetKeys: 1000},
	}
}

// try judges a configuration without looking for the journal, which may be open.
func try(_ context.Context, env sdk.Env) (storage.Info, error) {
	_, err := configured(env)
	return info(), err
}

func open(_ context.Context, env sdk.Env) (storage.Backend, error) {
	c, err := configured(env)
	if err != nil {
		return nil, err
	}
	b := &backend{env: env.WithDefaults(), items: map[string]storage.Item{}}
	b.version = storage.FirstVersion(b.env.Now())
	b.info = info()
	// The incarnation is the file's: nothing is lost with the process.
	b.journal, b.info.Incarnation, err = openJournal(c.Path, env.Incarnation, func(version uint64, w *storage.WriteSet) {
		b.version = version
		for _, o := range w.Ops {
			b.do(o)
		}
	})
	if err != nil {
		return nil, sdk.ConfigErrorf("path", "%v", err)
	}
	b.env.Log.Info("opened", "journal", filepath.Base(c.Path), "items", len(b.items))
	return b, nil
}

func (b *backend) Info() storage.Info { return b.info }

func (b *backend) Health(context.Context, storage.Probe) (storage.Health, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return storage.Health{Status: storage.Unhealthy, Reason: b.broken.Error()}, nil
	}
	return storage.Health{Status: storage.Healthy}, nil
}

// live returns the item at a key, if there is one that has not expired.
func (b *backend) live(key []byte) (storage.Item, bool) {
	it, ok := b.items[string(key)]
	return it, ok && (it.ExpiresAt.IsZero() || it.ExpiresAt.After(b.env.Now()))
}

// Items in the map are never changed, only replaced, and what is handed out goes over
// the socket: nothing has to be copied.

func (b *backend) Get(_ context.Context, key []byte) (storage.Item, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.info.Limits.CheckKey(key); err != nil {
		return storage.Item{}, err
	}
	it, ok := b.live(key)
	if !ok {
		return storage.Item{}, storage.ErrNotFound
	}
	return it, nil
}

func (b *backend) GetMany(_ context.Context, keys [][]byte) (items []storage.Item, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.info.Limits.CheckGetKeys(len(keys)); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := b.info.Limits.CheckKey(key); err != nil {
			return nil, err
		}
		if it, ok := b.live(key); ok {
			items = append(items, it)
		}
	}
	return items, nil
}

// pageItems limits a page where the query does not.
const pageItems = 100

func (b *backend) Scan(_ context.Context, q storage.Query) (page storage.Page, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := q.Validate(); err != nil {
		return page, err
	}
	if q.AtVersion != 0 {
		return page, storage.ErrUnsupported
	}
	keys := slices.Sorted(maps.Keys(b.items)) // all of them: so there is no CapOrdered
	if q.Reverse {
		slices.Reverse(keys)
	}
	limit, size := pageItems, 0
	if q.Limit > 0 {
		limit = q.Limit
	}
	page.Version = b.version
	for _, key := range keys {
		it, ok := b.live([]byte(key))
		if !ok || !storage.InRange(it.Key, q.Start, q.End) {
			continue
		}
		size += len(it.Key) + len(it.Value)
		if n := len(page.Items); n == limit || n > 0 && q.MaxBytes > 0 && size > q.MaxBytes {
			if page.Next = it.Key; q.Reverse {
				page.Next = storage.After(it.Key)
			}
			break
		}
		if q.KeysOnly {
			it.Value = nil
		}
		page.Items = append(page.Items, it)
	}
	return page, nil
}

// Apply checks everything, then writes the journal, then the map.
func (b *backend) Apply(_ context.Context, w *storage.WriteSet) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return 0, storage.Errorf(storage.Unavailable, "%w", b.broken)
	}
	if err := w.Validate(&b.info); err != nil {
		return 0, err
	}
	for i, c := range w.Checks {
		if !b.holds(c) {
			return 0, storage.ConflictAt(i)
		}
	}
	changes := func(o storage.Op) bool {
		return o.Kind == storage.OpPut && !b.past(o) || slices.ContainsFunc(b.touched(o), func(key string) bool { _, live := b.live([]byte(key)); return live })
	}
	if !slices.ContainsFunc(w.Ops, changes) {
		return b.version, nil
	}
	if err := b.journal.write(b.version+1, &storage.WriteSet{Ops: w.Ops}); err != nil {
		if storage.Unknown(err) {
			b.broken = err
		}
		return 0, err
	}
	b.version++
	for _, o := range w.Ops {
		b.do(o)
	}
	return b.version, nil
}

func (b *backend) holds(c storage.Check) bool {
	it, ok := b.live(c.Key)
	switch c.Kind {
	case storage.CheckAbsent:
		return !ok
	case storage.CheckPresent:
		return ok
	case storage.CheckValue:
		return ok && bytes.Equal(it.Value, c.Value)
	}
	return ok && it.Version == c.Version // Validate lets through what the capabilities allow
}

// past reports whether a put has expired already.
func (b *backend) past(o storage.Op) bool {
	return !o.ExpiresAt.IsZero() && !o.ExpiresAt.After(b.env.Now())
}

// touched returns the keys that an op replaces or removes, expired ones too.
func (b *backend) touched(o storage.Op) (keys []string) {
	if o.Kind != storage.OpDeleteRange {
		if _, ok := b.items[string(o.Key)]; ok {
			keys = append(keys, string(o.Key))
		}
		return keys
	}
	for key := range b.items {
		if storage.InRange([]byte(key), o.Key, o.End) {
			keys = append(keys, key)
		}
	}
	return keys
}

// do does one op, at the present version.
func (b *backend) do(o storage.Op) {
	for _, key := range b.touched(o) {
		delete(b.items, key)
	}
	if o.Kind == storage.OpPut && !b.past(o) {
		// Copied: the op is borrowed.
		b.items[string(o.Key)] = storage.Item{Key: bytes.Clone(o.Key), Value: append([]byte{}, o.Value...), Version: b.version, ExpiresAt: o.ExpiresAt}
	}
}

// Close closes the journal, in which everything is.
func (b *backend) Close(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.journal == nil {
		return nil
	}
	err := b.journal.file.Close()
	b.journal, b.broken = nil, storage.Errorf(storage.ShuttingDown, "closed")
	return err
}
