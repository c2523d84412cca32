package cache_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers/cache"
)

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
		blind   bool          // reads do not report expiries
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
