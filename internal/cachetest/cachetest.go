// Package cachetest tries the caches of two hosts over one backend that both write to.
package cachetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/cache"
)

// Host holds what a host has over a backend that others write to as well: a hub, and a
// cache over it.
type Host struct {
	Cache *cache.Backend
	Hub   *wrappers.Hub
	// How calls for changes are disturbed: they take longer, or fail.
	late    atomic.Int64 // nanoseconds
	refused atomic.Bool
}

// NewHost returns a host over b, whose items the cache believes for an hour unless it follows.
func NewHost(tb testing.TB, b storage.Backend, staleness time.Duration) *Host {
	tb.Helper()
	h := &Host{}
	h.Hub = wrappers.NewHub(&disturbed{b, h})
	h.Hub.Share()
	c := cache.DefaultConfig()
	c.Staleness, c.TTL, c.NegativeTTL = staleness, time.Hour, time.Hour
	over, err := cache.New(h.Hub.Backend(), c, wrappers.Settings{Clock: time.Now, Hub: h.Hub})
	if err != nil {
		tb.Fatal(err)
	}
	h.Cache = over
	tb.Cleanup(func() { over.Close(context.Background()) })
	return h
}

// Delay has calls for changes take longer by d.
func (h *Host) Delay(d time.Duration) { h.late.Store(int64(d)) }

// Refuse has calls for changes fail.
func (h *Host) Refuse(on bool) { h.refused.Store(on) }

// disturbed is a backend whose changes come late, or not at all.
type disturbed struct {
	storage.Backend
	h *Host
}

var errRefused = storage.Errorf(storage.Unavailable, "refused by the test")

func (d *disturbed) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	if d.h.refused.Load() {
		return storage.ChangePage{}, errRefused
	}
	page, err := d.Backend.Changes(ctx, q)
	if late := time.Duration(d.h.late.Load()); late > 0 {
		select {
		case <-time.After(late):
		case <-ctx.Done():
			return storage.ChangePage{}, storage.ContextError(ctx)
		}
	}
	if d.h.refused.Load() {
		return storage.ChangePage{}, errRefused
	}
	return page, err
}

// Run has two hosts write and read the same few keys, over a and b, two ways to one empty
// backend, while their followers are held up and cut off. Every read has to answer what was
// stored at some moment not longer ago than staleness.
func Run(t *testing.T, a, b storage.Backend, staleness, long time.Duration) {
	history, err := storagetest.NewHistory(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	hosts := []*Host{NewHost(t, a, staleness), NewHost(t, b, staleness)}
	ctx, stop := context.WithTimeout(t.Context(), 12*long) // as long as a busy machine needs
	defer stop()
	hits := func() (n uint64) {
		for _, h := range hosts {
			n += h.Cache.Stats().Hits
		}
		return n
	}
	var all sync.WaitGroup
	all.Go(func() {
		time.Sleep(long)
		for hits() < enough && ctx.Err() == nil {
			time.Sleep(long / 20)
		}
		stop()
	})
	for _, h := range hosts {
		all.Go(func() { h.disturb(ctx, staleness) })
		writer := history.Through(h.Cache, 0)
		all.Go(func() { write(ctx, writer) })
		reader := history.Through(h.Cache, staleness)
		all.Go(func() { read(ctx, t, reader) })
	}
	all.Wait()
	if hits() < enough {
		t.Errorf("the caches answered %d reads", hits())
	}
	if err := history.Check(100, time.Minute); err != nil {
		t.Error(err)
	}
	t.Logf("%d reads were answered by the caches", hits())
}

// enough is how many reads the caches have to answer for the history to say something.
const enough = 30

// disturb holds the follower up, cuts it off, and lets it go on, until the context ends.
func (h *Host) disturb(ctx context.Context, staleness time.Duration) {
	for ctx.Err() == nil {
		h.Delay(0)
		h.Refuse(false)
		pause(ctx, 2*staleness)
		if rand.IntN(2) == 0 {
			h.Refuse(true)
		} else {
			h.Delay(rand.N(2 * staleness))
		}
		pause(ctx, rand.N(3*staleness))
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// someKey returns one of few. The more calls of one key overlap, and a stale read overlaps with all that
// happened meanwhile, the harder it is to judge a history.
func someKey() []byte { return fmt.Appendf(nil, "k%d", rand.IntN(8)) }

func write(ctx context.Context, b storage.Backend) {
	for ctx.Err() == nil {
		w := &storage.WriteSet{Ops: []storage.Op{storage.Put(someKey(), fmt.Appendf(nil, "%d", rand.Int64()))}}
		if rand.IntN(4) == 0 {
			w.Ops = []storage.Op{storage.Delete(someKey())}
		}
		_, _ = b.Apply(context.WithoutCancel(ctx), w) // the history knows what came of it
		pause(ctx, rand.N(40*time.Millisecond))
	}
}

func read(ctx context.Context, t *testing.T, b storage.Backend) {
	for ctx.Err() == nil {
		_, err := b.Get(context.WithoutCancel(ctx), someKey()) // its end is no failure
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("a read: %v", err)
			return
		}
		pause(ctx, rand.N(20*time.Millisecond))
	}
}

// Delays returns how long writes through b stay unseen by a cache over a, sorted.
func Delays(t *testing.T, a, b storage.Backend, writes int) []time.Duration {
	t.Helper()
	h := NewHost(t, a, time.Second)
	key := []byte("seen")
	var delays []time.Duration
	for i := range writes {
		value := fmt.Appendf(nil, "%d", i)
		for hits := h.Cache.Stats().Hits; h.Cache.Stats().Hits == hits; { // until the cache has it
			_, _ = h.Cache.Get(t.Context(), key)
		}
		if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(key, value)}}); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); ; time.Sleep(100 * time.Microsecond) {
			it, err := h.Cache.Get(t.Context(), key)
			if err == nil && string(it.Value) == string(value) {
				delays = append(delays, time.Since(began))
				break
			}
			if time.Since(began) > 30*time.Second {
				t.Fatalf("it is not seen: %q, %v", it.Value, err)
			}
		}
	}
	slices.Sort(delays)
	return delays
}
