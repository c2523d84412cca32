package wasmhost_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// Callers of one instance: one is in the guest, the others wait, and what waits
// is combined into the next call.

// gate is a log whose reader takes its time: a guest that says something is held
// in the middle of its call until the gate lets it go on.
type gate struct {
	entered chan struct{}
	leave   chan struct{}
}

func (g *gate) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "compacted" {
		g.entered <- struct{}{}
		<-g.leave
	}
	return nil
}
func (g *gate) Enabled(context.Context, slog.Level) bool { return true }
func (g *gate) WithAttrs([]slog.Attr) slog.Handler       { return g }
func (g *gate) WithGroup(string) slog.Handler            { return g }

// crowd is a guest with somebody in it who does not come back yet, and others
// who wait for it.
type crowd struct {
	t    *testing.T
	b    *wasmhost.Backend
	gate *gate
	held chan error
	all  sync.WaitGroup
}

func newCrowd(t *testing.T, config string, o wasmhost.Options) *crowd {
	t.Helper()
	c := &crowd{t: t, held: make(chan error, 1), gate: &gate{make(chan struct{}), make(chan struct{})}}
	o.Name, o.Log = "hostile", slog.New(c.gate)
	if o.Call == 0 {
		o.Call = time.Minute
	}
	c.b = openGuest(t, "hostile", config, o)
	return c
}

// enter has somebody with ctx go into the guest, and stay there.
func (c *crowd) enter(ctx context.Context) {
	go func() {
		_, err := c.b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("!call:say"), []byte("v"))}})
		c.held <- err
	}()
	<-c.gate.entered
}

// queue has f wait for the guest, as the last in the queue.
func (c *crowd) queue(f func()) {
	before := c.b.Waiting()
	c.all.Go(f)
	for c.b.Waiting() == before {
		time.Sleep(100 * time.Microsecond)
	}
}

// open lets the one in the guest go on, and waits for everybody.
func (c *crowd) open() error {
	c.gate.leave <- struct{}{}
	err := <-c.held
	c.all.Wait()
	return err
}

func get(b *wasmhost.Backend, key string) (storage.Item, error) {
	return b.Get(context.Background(), []byte(key))
}

// Everybody gets the answer to what they asked, whoever asked it for them.
func TestCombines(t *testing.T) {
	c := newCrowd(t, "", wasmhost.Options{})
	for i := range 20 {
		apply(t, c.b, storage.Put(fmt.Appendf(nil, "key-%d", i), fmt.Appendf(nil, "value-%d", i)))
	}
	c.enter(context.Background())
	for i := range 20 {
		c.queue(func() {
			if it, err := get(c.b, fmt.Sprintf("key-%d", i)); err != nil || string(it.Value) != fmt.Sprintf("value-%d", i) {
				t.Errorf("get %d: %q, %v", i, it.Value, err)
			}
		})
		c.queue(func() {
			if _, err := get(c.b, fmt.Sprintf("absent-%d", i)); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("get of what is not there %d: %v", i, err)
			}
		})
		c.queue(func() { apply(t, c.b, storage.Put(fmt.Appendf(nil, "new-%d", i), fmt.Appendf(nil, "value-%d", i))) })
	}
	if err := c.open(); err != nil {
		t.Error(err)
	}
	for i := range 20 {
		expectValue(t, c.b, fmt.Sprintf("new-%d", i), fmt.Sprintf("value-%d", i))
	}
}

// How many are combined: 64, or as many as fit into 1 MiB.
func TestCombinesWithinBounds(t *testing.T) {
	for _, c := range []struct {
		name    string
		callers int
		size    int
		want    uint64
	}{
		{"few", 5, 0, 5},
		{"64", 100, 0, 64},
		{"1 MiB of them", 10, 200 << 10, 10}, // five writes, and the get behind each
	} {
		t.Run(c.name, func(t *testing.T) {
			crowd := newCrowd(t, "", wasmhost.Options{})
			crowd.enter(context.Background())
			var mu sync.Mutex
			most := uint64(0)
			for range c.callers {
				if c.size > 0 {
					crowd.queue(func() { apply(t, crowd.b, storage.Put([]byte("!call:count"), make([]byte, c.size))) })
				}
				crowd.queue(func() {
					it, err := get(crowd.b, "!call:count")
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					most = max(most, it.Version)
					mu.Unlock()
				})
			}
			if err := crowd.open(); err != nil || most != c.want {
				t.Errorf("at most %d in one call, %v; want %d", most, err, c.want)
			}
		})
	}
}

// A guest that answers the first request alone gets the others again.
func TestAnswersFewerThanAsked(t *testing.T) {
	c := newCrowd(t, "", wasmhost.Options{})
	for i := range 10 {
		apply(t, c.b, storage.Put(fmt.Appendf(nil, "key-%d!call:one", i), fmt.Appendf(nil, "value-%d", i)))
	}
	c.enter(context.Background())
	for i := range 10 {
		c.queue(func() {
			if it, err := get(c.b, fmt.Sprintf("key-%d!call:one", i)); err != nil || string(it.Value) != fmt.Sprintf("value-%d", i) {
				t.Errorf("%d: %q, %v", i, it.Value, err)
			}
		})
		c.queue(func() { apply(t, c.b, storage.Put(fmt.Appendf(nil, "new-%d!call:one", i), nil)) })
	}
	if err := c.open(); err != nil {
		t.Error(err)
	}
	for i := range 10 {
		if _, err := get(c.b, fmt.Sprintf("new-%d!call:one", i)); err != nil {
			t.Errorf("new %d: %v", i, err)
		}
	}
}

// Whoever was with the guest when it broke is told so; who was not, is told that
// nothing was done.
func TestBreaksForEverybodyInTheCall(t *testing.T) {
	for act, reason := range map[string]string{
		"trap":  "plinth_call: wasm error: unreachable",
		"extra": broke + "more answers than the 64 requests",
		"same":  broke + "answer 1 has the id 0",
		"cut":   broke + "answer 63 is unreadable: unexpected EOF",
	} {
		t.Run(act, func(t *testing.T) {
			c := newCrowd(t, "", wasmhost.Options{})
			c.enter(context.Background())
			answered := map[string]int{"extra": 64, "same": 1, "cut": 63}[act] // these were answered before it broke
			for i := range 100 {
				key := fmt.Sprintf("%d!call:%s", i, act)
				c.queue(func() {
					_, err := c.b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(key), nil)}})
					e := storage.AsError(err)
					switch {
					case i < answered:
						if err != nil {
							t.Errorf("%d was answered: %v", i, err)
						}
					case i < 64:
						if !errors.Is(err, storage.ErrOutcomeUnknown) || !e.Unknown || err.Error() != hostiles+reason {
							t.Errorf("%d was with it: %v, want %s", i, err, reason)
						}
					default:
						if want := hostiles + "the plugin has failed and its state is lost: " + reason; !errors.Is(err, storage.ErrUnavailable) || e.Unknown || err.Error() != want {
							t.Errorf("%d was not: %v, want %s", i, err, want)
						}
					}
				})
			}
			if err := c.open(); err != nil {
				t.Errorf("the one before: %v", err)
			}
		})
	}
}

// One frame that cannot be done costs the others of its call nothing.
func TestOneBadAmongGood(t *testing.T) {
	c := newCrowd(t, "", wasmhost.Options{})
	apply(t, c.b, storage.Put([]byte("key"), []byte("value")))
	c.enter(context.Background())
	for i := range 30 {
		c.queue(func() {
			switch i % 3 {
			case 0:
				expectValue(t, c.b, "key", "value")
			case 1:
				w := storage.WriteSet{Checks: []storage.Check{storage.Absent([]byte("key"))}, Ops: []storage.Op{storage.Delete([]byte("key"))}}
				if _, err := c.b.Apply(context.Background(), &w); !errors.Is(err, storage.ErrConflict) || storage.AsError(err).FailedCheck() != 0 {
					t.Errorf("a check that fails: %v", err)
				}
			case 2:
				if _, err := c.b.Scan(context.Background(), storage.Query{Reverse: true}); !errors.Is(err, storage.ErrUnsupported) {
					t.Errorf("a scan that it cannot do: %v", err)
				}
			}
		})
	}
	if err := c.open(); err != nil {
		t.Error(err)
	}
	expectValue(t, c.b, "key", "value")
}

// Who waits may leave, at once, and what they asked for is certainly not done.
// Who is in the guest stays for the outcome.
func TestLeavesOnCancel(t *testing.T) {
	c := newCrowd(t, "", wasmhost.Options{})
	held, leave := context.WithCancel(context.Background())
	c.enter(held)
	waiting, cancel := context.WithCancel(context.Background())
	left := make(chan error, 30)
	for i := range 30 {
		c.queue(func() {
			ctx := context.Background()
			if i%2 == 1 {
				ctx = waiting
			}
			_, err := c.b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(fmt.Appendf(nil, "key-%d", i), nil)}})
			if i%2 == 1 {
				left <- err
			} else if err != nil {
				t.Errorf("%d, who stayed: %v", i, err)
			}
		})
	}
	short, stop := context.WithTimeout(context.Background(), time.Millisecond)
	defer stop()
	if _, err := c.b.Get(short, []byte("k")); !errors.Is(err, storage.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a deadline that passes while waiting: %v", err)
	}
	cancel()
	for range 15 { // while the guest is still busy
		if err := <-left; !errors.Is(err, storage.ErrCanceled) || !errors.Is(err, context.Canceled) || storage.AsError(err).Unknown {
			t.Errorf("who left: %v", err)
		}
	}
	leave()
	select {
	case err := <-c.held:
		t.Errorf("who was in the guest left: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	if err := c.open(); err != nil {
		t.Errorf("who was in the guest: %v", err)
	}
	if _, err := c.b.Get(held, []byte("k")); !errors.Is(err, storage.ErrCanceled) {
		t.Errorf("who comes with a context that is over: %v", err)
	}
	for i := range 30 {
		_, err := get(c.b, fmt.Sprintf("key-%d", i))
		if i%2 == 1 != errors.Is(err, storage.ErrNotFound) {
			t.Errorf("key %d: %v", i, err)
		}
	}
}

// Close lets the one in the guest finish; those who wait are turned away, with
// nothing done. A Close whose context ends is not done, and may be tried again.
func TestCloseDrains(t *testing.T) {
	ctx := context.Background()
	c := newCrowd(t, "", wasmhost.Options{})
	c.enter(ctx)
	for range 5 {
		c.queue(func() {
			_, err := c.b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte("k"), nil)}})
			if !errors.Is(err, storage.ErrShuttingDown) || storage.AsError(err).Unknown {
				t.Errorf("who waited: %v", err)
			}
		})
	}
	impatient, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	if err := c.b.Close(impatient); !errors.Is(err, storage.ErrTimeout) {
		t.Errorf("a Close that cannot wait: %v", err)
	}
	if _, err := get(c.b, "k"); !errors.Is(err, storage.ErrShuttingDown) {
		t.Errorf("who comes too late: %v", err)
	}
	closed := make(chan error, 2)
	for range 2 {
		c.queue(func() { closed <- c.b.Close(ctx) })
	}
	if err := c.open(); err != nil {
		t.Errorf("who was in the guest: %v", err)
	}
	for range 2 {
		if err := <-closed; err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	if err := c.b.Close(ctx); err != nil {
		t.Errorf("closing again: %v", err)
	}
	calls := map[string]func() error{
		"get":      func() error { _, err := get(c.b, "k"); return err },
		"get_many": func() error { _, err := c.b.GetMany(ctx, [][]byte{{1}}); return err },
		"scan":     func() error { _, err := c.b.Scan(ctx, storage.Query{}); return err },
		"apply":    func() error { _, err := c.b.Apply(ctx, &storage.WriteSet{}); return err },
		"health":   func() error { _, err := c.b.Health(ctx, storage.Liveness); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, storage.ErrShuttingDown) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if info := c.b.Info(); info.Name != "kv" {
		t.Errorf("info after Close: %+v", info)
	}
}

// Many callers at once, of all kinds, some of whom leave: the guest has one thread
// and one buffer, so that whatever is not kept apart shows.
func TestManyCallers(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		t.Run(fmt.Sprintf("trusted=%t", trusted), func(t *testing.T) {
			o := wasmhost.Options{Name: "kv", Trusted: trusted, BuiltIn: trusted}
			if !trusted {
				o.Call = time.Minute
			}
			b := openGuest(t, "kv", "", o)
			var all sync.WaitGroup
			for n := range 32 {
				all.Go(func() {
					r := rand.New(rand.NewPCG(1, uint64(n)))
					ctx := context.Background()
					mine := make(map[string]string)
					for i := range 300 {
						key, value := fmt.Sprintf("%d-%d", n, r.IntN(20)), fmt.Sprintf("%d-%d-%0*d", n, i, r.IntN(3000), 0)
						switch r.IntN(5) {
						case 0:
							apply(t, b, storage.Put([]byte(key), []byte(value)))
							mine[key] = value
						case 1:
							apply(t, b, storage.Delete([]byte(key)))
							delete(mine, key)
						case 2:
							items, err := b.GetMany(ctx, [][]byte{[]byte(key), []byte(key)})
							if want, ok := mine[key]; err != nil || len(items) != 0 != ok || ok && (len(items) != 2 || string(items[1].Value) != want || string(items[0].Key) != key) {
								t.Errorf("get_many %s: %d items, %v", key, len(items), err)
							}
						case 3:
							short, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(50))*time.Microsecond)
							other := fmt.Sprintf("%s-maybe", key)
							if _, err := b.Apply(short, &storage.WriteSet{Ops: []storage.Op{storage.Put([]byte(other), nil)}}); err != nil && !errors.Is(err, storage.ErrTimeout) {
								t.Errorf("apply with a short time: %v", err)
							} else if _, getErr := get(b, other); (err == nil) != (getErr == nil) {
								t.Errorf("apply said %v, and then: %v", err, getErr)
							}
							cancel()
							apply(t, b, storage.Delete([]byte(other)))
						default:
							it, err := get(b, key)
							if want, ok := mine[key]; ok && (err != nil || string(it.Value) != want) || !ok && !errors.Is(err, storage.ErrNotFound) {
								t.Errorf("get %s: %v", key, err)
							}
						}
					}
				})
			}
			all.Wait()
		})
	}
}
