package client_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plinthkv/plinth/client"
	"github.com/plinthkv/plinth/server/grpcserver"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// Also through a proxy that cuts, delays and reorders connections the contract is
// kept: nothing of it is seen.
func TestConformanceThroughAProxy(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, where the kit without a proxy and the writes through one run")
	}
	clock := storagetest.NewClock()
	seed := uint64(0)
	cuts := int64(0)
	storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(ctx context.Context) (storage.Backend, error) {
		seed++
		return stack(ctx, clock, func(address string) (string, func(), func()) {
			p, err := newProxy(address, seed, rough{cut: 0.002, late: 0.5, lag: 5 * time.Millisecond,
				delay: 0.01, wait: time.Millisecond, detour: 0.3, calm: 64 << 10})
			if err != nil {
				t.Fatal(err)
			}
			return p.address(), p.begin, func() { p.close(); cuts += p.cuts.Load() }
		})
	}})
	if cuts < 100 {
		t.Errorf("only %d connections were cut", cuts)
	}
	t.Logf("%d connections were cut", cuts)
}

// recorder notes every version at which something was written, and what.
type recorder struct {
	storage.Backend
	without storage.Caps // what it does not offer, though it is there
	mu      sync.Mutex
	landed  map[string]map[uint64]bool // key → versions
}

func (r *recorder) Info() storage.Info {
	info := r.Backend.Info()
	info.Caps &^= r.without
	return info
}

func (r *recorder) Apply(ctx context.Context, w *storage.WriteSet) (uint64, error) {
	version, err := r.Backend.Apply(ctx, w)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, o := range w.Ops {
			if r.landed[string(o.Key)] == nil {
				r.landed[string(o.Key)] = map[uint64]bool{}
			}
			r.landed[string(o.Key)][version] = true
		}
	}
	return version, err
}

// No acknowledged write is lost and none is applied twice, whatever happens to
// connections; what is not known is said to be so. With and without a backend
// that remembers IDs.
func TestWritesThroughAProxy(t *testing.T) {
	for name, without := range map[string]storage.Caps{"idempotent": 0, "not idempotent": storage.CapIdempotent} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) { writesThroughAProxy(t, without, seed) })
		}
	}
}

func writesThroughAProxy(t *testing.T, without storage.Caps, seed uint64) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx := t.Context()
	b := &recorder{Backend: mem(time.Now), without: without, landed: map[string]map[uint64]bool{}}
	srv, err := serve(grpcserver.Config{}, b, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.stop()
	p, err := newProxy(srv.address, seed, rough{cut: 0.03, late: 0.7, lag: 100 * time.Millisecond, delay: 0.1, wait: 5 * time.Millisecond, detour: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	c, err := client.Dial(ctx, client.Config{Address: p.address()}, client.Settings{Log: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	p.begin()
	var mu sync.Mutex
	acked, unknown, refused := map[string]uint64{}, map[string]bool{}, map[string]bool{}
	counter, maybe := 0, 0
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			// How many chunks there are, and so cuts, depends on how many calls go together.
			for n := 0; n < 150 || n < 5000 && (p.cuts.Load() < 10 || p.lates.Load() == 0); n++ {
				key := fmt.Sprintf("%d-%d", i, n)
				version, err := c.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(key), []byte(key))}})
				mu.Lock()
				switch {
				case err == nil:
					acked[key] = version
				case storage.AsError(err).Unknown:
					unknown[key] = true
				default:
					refused[key] = true
				}
				mu.Unlock()
				if n%5 != 0 {
					continue
				}
				done, unsure := increment(ctx, c)
				mu.Lock()
				counter, maybe = counter+done, maybe+unsure
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	p.on.Store(false)
	time.Sleep(150 * time.Millisecond) // for what is late
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, versions := range b.landed {
		if key != "counter" && len(versions) > 1 {
			t.Errorf("%s was applied %d times", key, len(versions))
		}
	}
	for key, version := range acked {
		it, err := b.Get(ctx, []byte(key))
		if err != nil || it.Version != version || !b.landed[key][version] {
			t.Errorf("%s was acknowledged at %d, and is at %d: %v", key, version, it.Version, err)
		}
	}
	for key := range refused {
		if len(b.landed[key]) > 0 {
			t.Errorf("%s was refused and is there", key)
		}
	}
	it, err := b.Get(ctx, []byte("counter"))
	if got := len(it.Value); err != nil || got < counter || got > counter+maybe {
		t.Errorf("the counter is at %d after %d increments and %d that may have been", got, counter, maybe)
	}
	if len(acked) < 900 || p.cuts.Load() < 10 || p.lates.Load() == 0 {
		t.Errorf("%d acknowledged, %d cuts, %d late: this says nothing", len(acked), p.cuts.Load(), p.lates.Load())
	}
	if without == 0 && len(unknown) > (len(acked)+len(unknown))/100 {
		t.Errorf("%d unknown: they are to be settled", len(unknown))
	}
	t.Logf("%d acknowledged, %d unknown, %d refused, %d cuts, %d late", len(acked), len(unknown), len(refused), p.cuts.Load(), p.lates.Load())
}

// increment makes the counter one byte longer, unless another does meanwhile.
func increment(ctx context.Context, c *client.Client) (done, unsure int) {
	key := []byte("counter")
	it, err := c.Get(ctx, key)
	check := storage.HasVersion(key, it.Version)
	if err != nil {
		if storage.CodeOf(err) != storage.NotFound {
			return 0, 0
		}
		check = storage.Absent(key)
	}
	_, err = c.Apply(ctx, &storage.WriteSet{Checks: []storage.Check{check}, Ops: []storage.Op{storage.Put(key, append(it.Value, 'x'))}})
	if err == nil {
		return 1, 0
	}
	if storage.AsError(err).Unknown {
		return 0, 1
	}
	return 0, 0
}

// What several clients see through the proxy could have happened in some order.
func TestLinearizableThroughAProxy(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			ctx := t.Context()
			clock := storagetest.NewClock()
			b, err := stack(ctx, clock, func(address string) (string, func(), func()) {
				p, err := newProxy(address, seed, rough{cut: 0.03, late: 0.7, lag: 30 * time.Millisecond, delay: 0.1, wait: 3 * time.Millisecond, detour: 0.5})
				if err != nil {
					t.Fatal(err)
				}
				return p.address(), p.begin, p.close
			})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close(ctx)
			h, err := storagetest.NewHistory(ctx, b)
			if err != nil {
				t.Fatal(err)
			}
			var callers sync.WaitGroup
			for i := range 4 {
				one := h.Client()
				callers.Go(func() {
					for n := range 60 {
						key := []byte{"ab"[n%2]}
						it, err := one.Get(ctx, key)
						w := storage.WriteSet{Ops: []storage.Op{storage.Put(key, fmt.Append(nil, i, n))}}
						if n%3 == 0 && err == nil {
							w.Checks = []storage.Check{storage.HasVersion(key, it.Version)}
						}
						if n%7 == 0 {
							w.Ops = append(w.Ops, storage.Delete([]byte("a")))
						}
						one.Apply(ctx, &w)
					}
				})
			}
			callers.Wait()
			if err := h.Check(300, 30*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}
