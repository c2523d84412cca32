package wasmhost_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// crowd is a guest with a call in it that does not return yet, and others
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

// enter has a call with ctx go into the guest, and stay there.
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

// Callers whose calls were with the guest when it broke are told so; others are told
// that nothing was done.
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
