package wasmhost_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

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
