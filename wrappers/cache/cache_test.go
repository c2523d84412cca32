package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
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

// sees fails unless a get answers want; empty: that there is nothing.
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

// cached fails unless a get is answered without the backend.
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

// A read that began before a write and ends after it does not bring the old
// value back.
func TestSlowFillDoesNotOutliveAWrite(t *testing.T) {
	b := setUp(t, nil)
	b.set("old")
	read, write := make(chan struct{}), make(chan struct{})
	b.below.mu.Lock()
	b.below.afterGet = func() { close(read); <-write }
	b.below.mu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); b.Get(ctx, key) }()
	<-read
	b.below.mu.Lock()
	b.below.afterGet = nil
	b.below.mu.Unlock()
	b.set("new")
	close(write)
	<-done
	b.sees("new")
	b.sees("new")
}

// A read in the middle of a write keeps nothing, whether it has seen the old
// value or the new.
func TestFillDuringAWriteIsNotKept(t *testing.T) {
	b := setUp(t, nil)
	b.set("old")
	b.sees("old")
	b.cached(true)
	b.below.beforeApply = func(*error) { b.sees("old"); b.sees("old") }
	b.below.afterApp = func(*error) { b.sees("new") }
	b.set("new")
	b.sees("new")
	b.cached(true)
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

// Where reads do not tell the expiry: only keys that were written without one
// through this host are kept.
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

// A conflict in Update takes out what was read, so that the next attempt sees what
// it lost to.
func TestConflictInUpdate(t *testing.T) {
	b := setUp(t, nil)
	b.set("1")
	b.sees("1")
	attempts := 0
	err := b.Update(ctx, func(tx *storage.Txn) error {
		v, err := tx.Get(ctx, key)
		if err != nil {
			return err
		}
		if attempts++; attempts == 1 { // somebody else, past this host
			if _, err := b.below.Backend.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte("5"))}}); err != nil {
				return err
			}
		}
		return tx.Set(ctx, []byte("copy"), v) // the key itself is only read
	})
	if err != nil || attempts != 2 {
		t.Fatalf("%v after %d attempts", err, attempts)
	}
	if v, err := b.Get(ctx, []byte("copy")); err != nil || string(v) != "5" {
		t.Fatalf("%q, %v", v, err)
	}
}

// After an unknown outcome the keys are not kept while the backend may still be
// working on them.
func TestOutcomeUnknown(t *testing.T) {
	for _, kind := range []string{"key", "range"} {
		t.Run(kind, func(t *testing.T) {
			b := setUp(t, func(c *cache.Config) { c.UnknownHold = time.Minute })
			b.set("old")
			b.sees("old")
			b.below.beforeApply = func(err *error) {
				*err = &storage.Error{Code: storage.OutcomeUnknown, Unknown: true}
			}
			w := &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte("late"))}}
			if kind == "range" {
				w.Ops = []storage.Op{storage.DeleteRange([]byte("a"), nil)}
			}
			if _, err := b.Apply(ctx, w); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Fatal(err)
			}
			b.below.beforeApply = nil
			b.sees("old")
			b.cached(false)
			if _, err := b.below.Backend.Apply(ctx, w); err != nil { // it comes through after all
				t.Fatal(err)
			}
			want := "late"
			if kind == "range" {
				want = ""
			}
			b.sees(want)
			b.cached(false)
			b.advance(time.Minute)
			b.sees(want)
			b.cached(true)
		})
	}
}

// Too many keys of unknown outcome count as all.
func TestManyUnknown(t *testing.T) {
	b := setUp(t, nil)
	b.set("v")
	b.below.beforeApply = func(err *error) { *err = &storage.Error{Code: storage.OutcomeUnknown, Unknown: true} }
	for set := range 4 {
		w := &storage.WriteSet{}
		for i := range 1<<14 + 1 {
			w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "many%d/%d", set, i), nil))
		}
		b.Apply(ctx, w)
	}
	b.cached(false)
	b.cached(false)
	b.advance(time.Minute)
	b.sees("v")
	b.cached(true)
}

// A backend whose answers are all lost, for however long and while nobody reads,
// has the cache grow no more than that.
func TestUnknownIsBounded(t *testing.T) {
	b := setUp(t, nil)
	b.below.beforeApply = func(err *error) { *err = &storage.Error{Code: storage.OutcomeUnknown, Unknown: true} }
	most := 0
	for set := range 300 {
		w := &storage.WriteSet{}
		for i := range 1000 {
			w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "%d/%d", set, i), nil))
		}
		for range 50 {
			b.Apply(ctx, &storage.WriteSet{Ops: w.Ops[:1]})
		}
		b.Apply(ctx, w)
		most = max(most, b.cache.Held())
		if set%100 == 99 { // some of it is over
			b.advance(time.Minute)
		}
	}
	if most > 1<<17 {
		t.Errorf("%d keys are held at once", most)
	}
	b.advance(time.Minute)
	b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("one"), nil)}})
	if left := b.cache.Held(); left != 2 {
		t.Errorf("%d are still held, want the last", left)
	}
}

// A write through one store reaches the cache of another store over the same
// backend, also one that was built while the write was under way.
func TestTwoStoresOnOneBackend(t *testing.T) {
	b := setUp(t, nil)
	plain := storage.New(b.hub.Backend(), storage.Settings{Clock: b.clock})
	b.set("old")
	b.sees("old")
	b.cached(true)
	var late *storage.Store
	b.below.beforeApply = func(*error) {
		late = storage.New(b.over(nil), storage.Settings{Clock: b.clock})
		late.Get(ctx, key)
	}
	if err := plain.Set(ctx, key, []byte("new")); err != nil {
		t.Fatal(err)
	}
	b.sees("new")
	if got, err := late.Get(ctx, key); err != nil || string(got) != "new" {
		t.Fatalf("the store that came in between sees %q, %v", got, err)
	}
}

// A backend that has lost its state takes the cache along.
func TestLostState(t *testing.T) {
	b := setUp(t, nil)
	b.set("v")
	b.sees("v")
	b.cached(true)
	if _, err := b.below.Backend.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Delete(key)}}); err != nil {
		t.Fatal(err)
	}
	b.below.incarnation = 1
	b.Get(ctx, []byte("another")) // a call after the restart
	b.sees("")
}

// Of many who miss a key together, one reads; each gets a copy of its own.
func TestOneFillForMany(t *testing.T) {
	b := setUp(t, nil)
	b.set("v")
	const callers = 20
	arrived := make(chan struct{}, callers)
	gate := make(chan struct{})
	b.below.beforeGet = func() { arrived <- struct{}{}; <-gate }
	before := b.below.reads()
	values := make(chan []byte, callers)
	for range callers {
		go func() {
			v, _ := b.Get(ctx, key)
			values <- v
		}()
	}
	<-arrived
	for b.cache.Stats().Misses < callers {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	for range callers {
		v := <-values
		if string(v) != "v" {
			t.Fatalf("%q", v)
		}
		v[0] = 'x'
	}
	if n := b.below.reads() - before; n != 1 {
		t.Errorf("%d reads", n)
	}
	b.sees("v")
}

// A caller that waits for another's fill leaves when its context ends, and a fill
// whose caller left does not fail the others.
func TestFillAndContexts(t *testing.T) {
	b := setUp(t, nil)
	b.set("v")
	gate, inside := make(chan struct{}), make(chan struct{}, 2)
	b.below.beforeGet = func() { inside <- struct{}{}; <-gate }
	leader := make(chan error, 1)
	go func() { _, err := b.Get(ctx, key); leader <- err }()
	<-inside
	impatient, leave := context.WithCancel(ctx)
	follower := make(chan error, 1)
	go func() { _, err := b.Get(impatient, key); follower <- err }()
	leave()
	if err := <-follower; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(gate)
	if err := <-leader; err != nil {
		t.Error(err)
	}
}

// ttlOfTests is how long an item is kept, unlike by default.
const ttlOfTests = 20 * time.Second

// Who asks after an item has ended does not get it from another's fill that began
// before; nor what is older than it may be kept.
func TestFillDoesNotOutliveItsItem(t *testing.T) {
	for _, c := range []struct {
		name    string
		ttl     time.Duration // of the item; negative: absent at first
		blind   bool          // reads do not tell expiries
		negTTL  time.Duration
		advance time.Duration
		want    string
	}{
		{"an item that has ended", time.Second, false, time.Minute, time.Second, ""},
		{"an item whose end is not known", time.Second, true, time.Minute, time.Second, ""},
		{"an item that others have changed since", time.Hour, false, time.Minute, ttlOfTests, "by others"},
		{"a key that others have written since", -1, false, time.Second, time.Second, "by others"},
		{"absence that is not kept at all", -1, false, 0, time.Millisecond, "by others"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := setUp(t, nil)
			if c.blind {
				b.below.caps = storage.CapExpiryOnRead
			}
			over := b.over(func(config *cache.Config) { config.TTL, config.NegativeTTL = ttlOfTests, c.negTTL })
			if c.ttl > 0 {
				if _, err := b.Put(ctx, key, []byte("v"), storage.WithTTL(c.ttl)); err != nil {
					t.Fatal(err)
				}
			}
			read, let := make(chan struct{}), make(chan struct{})
			b.below.mu.Lock()
			b.below.afterGet = func() { close(read); <-let }
			b.below.mu.Unlock()
			first := make(chan struct{})
			go func() { defer close(first); over.Get(ctx, key) }()
			<-read
			b.below.mu.Lock()
			b.below.afterGet = nil
			b.below.mu.Unlock()
			b.advance(c.advance)
			if c.want != "" {
				if _, err := b.below.Backend.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte(c.want))}}); err != nil {
					t.Fatal(err)
				}
			}
			second := make(chan struct{})
			var got storage.Item
			var err error
			before := over.Stats().Misses
			go func() { defer close(second); got, err = over.Get(ctx, key) }()
			for over.Stats().Misses == before {
				runtime.Gosched()
			}
			close(let)
			<-first
			<-second
			if err != nil && !errors.Is(err, storage.ErrNotFound) || string(got.Value) != c.want {
				t.Errorf("%q, %v, want %q", got.Value, err, c.want)
			}
		})
	}
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
	for b.cache.Stats().Bytes > 1<<20 { // evictions run beside
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
