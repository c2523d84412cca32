package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/cache"
)

var (
	ctx = context.Background()
	key = []byte("k")
)

// bench is a store over a cache over a backend that a test can hold still.
type bench struct {
	*storage.Store
	t     *testing.T
	hub   *wrappers.Hub
	below *still
	cache *cache.Backend
	now   time.Time
	mu    sync.Mutex
}

func setUp(t *testing.T, edit func(*cache.Config)) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	b.below = &still{Backend: memory.New(memory.DefaultConfig(), sdk.Env{Now: b.clock})}
	b.hub = wrappers.NewHub(b.below)
	b.cache = b.over(edit)
	b.Store = storage.New(b.cache, storage.Settings{Clock: b.clock})
	return b
}

// over is another cache over the same backend.
func (b *bench) over(edit func(*cache.Config)) *cache.Backend {
	b.t.Helper()
	c := cache.DefaultConfig()
	if edit != nil {
		edit(&c)
	}
	over, err := cache.New(b.hub.Backend(), c, wrappers.Settings{Clock: b.clock, Hub: b.hub})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { over.Close(ctx) })
	return over
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) set(value string) {
	b.t.Helper()
	if err := b.Set(ctx, key, []byte(value)); err != nil {
		b.t.Fatal(err)
	}
}

// sees fails unless a get returns want, or finds nothing if want is empty.
func (b *bench) sees(want string) {
	b.t.Helper()
	got, err := b.Get(ctx, key)
	if want == "" && errors.Is(err, storage.ErrNotFound) {
		return
	}
	if err != nil || string(got) != want {
		b.t.Fatalf("get answers %q (%v), want %q", got, err, want)
	}
}

// cached fails unless a get does without the backend.
func (b *bench) cached(is bool) {
	b.t.Helper()
	before := b.below.reads()
	b.Get(ctx, key)
	if hit := b.below.reads() == before; hit != is {
		b.t.Fatalf("answered from the cache: %v, want %v", hit, is)
	}
}

// still is a backend whose calls a test can stop, before and after the work.
type still struct {
	storage.Backend
	mu                    sync.Mutex
	gets                  int
	beforeGet, afterGet   func()
	beforeApply, afterApp func(*error)
	incarnation           byte
	caps                  storage.Caps // taken away
}

func (s *still) reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets
}

func (s *still) Get(ctx context.Context, key []byte) (storage.Item, error) {
	s.mu.Lock()
	s.gets++
	before, after := s.beforeGet, s.afterGet
	s.mu.Unlock()
	if before != nil {
		before()
	}
	it, err := s.Backend.Get(ctx, key)
	if s.caps.Has(storage.CapExpiryOnRead) {
		it.ExpiresAt = time.Time{}
	}
	if after != nil {
		after()
	}
	return it, err
}

func (s *still) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	var failed error
	if s.beforeApply != nil {
		if s.beforeApply(&failed); failed != nil {
			return 0, failed
		}
	}
	v, err := s.Backend.Apply(ctx, w)
	if s.afterApp != nil {
		s.afterApp(&err)
	}
	return v, err
}

func (s *still) Info() storage.Info {
	i := s.Backend.Info()
	i.Caps &^= s.caps
	i.Incarnation[0] ^= s.incarnation
	return i
}

// The commit of a transaction takes its keys out, also deletes and ranges.
func TestCommitInvalidates(t *testing.T) {
	b := setUp(t, nil)
	b.set("old")
	b.sees("old")
	tx := b.Begin(storage.ReadCommitted)
	tx.Set(ctx, key, []byte("new"))
	if _, err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	b.sees("new")
	for _, remove := range []func() error{
		func() error { return b.Delete(ctx, key) },
		func() error { return errOf(b.ClearRange(ctx, []byte("a"), []byte("z"))) },
		func() error { return errOf(b.ClearRange(ctx, nil, nil)) },
		func() error { return errOf(b.Put(ctx, key, nil, storage.WithTTL(0))) },
	} {
		b.set("v")
		b.sees("v")
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		b.sees("")
	}
}

// What a cleared range does not hold stays kept.
func TestClearingARangeKeepsTheRest(t *testing.T) {
	b := setUp(t, nil)
	b.set("v")
	if err := b.Set(ctx, []byte("m"), []byte("other")); err != nil {
		t.Fatal(err)
	}
	b.sees("v")
	if _, err := b.Get(ctx, []byte("m")); err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2][]byte{{[]byte("l"), nil}, {nil, []byte("k")}, {key, key}, {[]byte("z"), []byte("a")}} {
		if _, err := b.ClearRange(ctx, r[0], r[1]); err != nil {
			t.Fatal(err)
		}
		b.cached(true)
	}
	if _, err := b.Get(ctx, []byte("m")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a key that was cleared: %v", err)
	}
}

// An entry never outlives its item, to the millisecond.
func TestEntryEndsWithItsItem(t *testing.T) {
	b := setUp(t, nil)
	if _, err := b.Put(ctx, key, []byte("v"), storage.WithTTL(50*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	b.sees("v")
	b.cached(true)
	b.advance(49 * time.Millisecond)
	b.sees("v")
	b.cached(true)
	b.advance(time.Millisecond)
	b.sees("")
}

// If reads do not report the expiry, only keys that were written without one through
// this host are kept.
func TestExpiryThatReadsDoNotTell(t *testing.T) {
	b := setUp(t, nil)
	b.below.caps = storage.CapExpiryOnRead
	blind := b.over(nil)
	b.Store = storage.New(blind, storage.Settings{Clock: b.clock})
	if _, err := b.below.Backend.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte("by others"))}}); err != nil {
		t.Fatal(err)
	}
	b.sees("by others")
	b.cached(false)
	b.set("ours")
	b.sees("ours")
	b.cached(true)
	if _, err := b.Put(ctx, key, []byte("brief"), storage.WithTTL(time.Second)); err != nil {
		t.Fatal(err)
	}
	b.sees("brief")
	b.cached(false)
	b.advance(time.Second)
	b.sees("")
}

// That a key is absent is forgotten when it is written through this host,
// and soon when others write it.
func TestAbsenceIsNotKept(t *testing.T) {
	b := setUp(t, nil)
	b.sees("")
	b.cached(true)
	b.set("v")
	b.sees("v")
	b.Delete(ctx, key)
	b.sees("")
	if _, err := b.below.Backend.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte("by others"))}}); err != nil {
		t.Fatal(err)
	}
	b.advance(cache.DefaultConfig().NegativeTTL)
	b.sees("by others")
}

// Entries are bounded by bytes, and an item that is handed out is the caller's.
func TestBytesAndOwnership(t *testing.T) {
	b := setUp(t, func(c *cache.Config) { c.MaxBytes = 1 << 20 })
	value := bytes.Repeat([]byte("x"), 10<<10)
	for i := range 1000 {
		k := fmt.Appendf(nil, "key%d", i)
		if err := b.Set(ctx, k, value); err != nil {
			t.Fatal(err)
		}
		b.Get(ctx, k)
	}
	deadline := time.Now().Add(10 * time.Second)
	for b.cache.Stats().Bytes > 1<<20 { // evictions run in the background
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are kept", b.cache.Stats().Bytes)
		}
		time.Sleep(time.Millisecond)
	}
	b.set("v")
	for range 2 {
		v, _ := b.Get(ctx, key)
		v[0] = 'X'
	}
	b.sees("v")
}

// A cache that is closed hears of no writes any more: it keeps nothing, neither what
// it had nor what late callers read.
func TestClosed(t *testing.T) {
	b := setUp(t, nil)
	b.set("old")
	b.sees("old")
	b.cached(true)
	for range 2 {
		if err := b.cache.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, value := range []string{"new", "newer"} {
		if _, err := b.hub.Backend().Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte(value))}}); err != nil {
			t.Fatal(err)
		}
		b.sees(value)
		b.cached(false)
	}
	if s := b.cache.Stats(); s.Entries != 0 {
		t.Errorf("%d entries are kept", s.Entries)
	}
}

func TestConfig(t *testing.T) {
	if err := cache.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := cache.Config{MaxBytes: 1, TTL: 0, NegativeTTL: -1, UnknownHold: -1}
	err := bad.Validate()
	for _, field := range []string{"max_bytes", "ttl", "negative_ttl", "unknown_hold"} {
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte(field+": ")) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
}

// A hit allocates the value and nothing else.
func TestHitAllocates(t *testing.T) {
	b := setUp(t, nil)
	b.set("value")
	b.sees("value")
	if n := testing.AllocsPerRun(1000, func() { b.cache.Get(ctx, key) }); n > 1 {
		t.Errorf("a hit allocates %.0f times", n)
	}
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
