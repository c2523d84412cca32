package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// What a cluster does to a client on a bad day: a write that was acknowledged is
// there once, and a read that begins after it sees it.

// quickly has an attempt that hangs not take long, and calls that have all the time
// there is.
func quickly(c *ledger.Config) {
	c.Timeouts = ledger.Timeouts{Read: "30s", Write: "30s", List: "30s", Attempt: "1s"}
	c.Retry.Attempts = 25
}

// work has clients write and read a few keys, and returns what they saw.
func work(t *testing.T, b storage.Backend, clients, calls int) *storagetest.History {
	t.Helper()
	h, err := storagetest.NewHistory(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range clients {
		own := h.Client()
		all.Go(func() {
			s := storage.New(own, storage.Settings{})
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for n := range calls {
				key, value := []byte{byte('a' + r.IntN(3))}, fmt.Appendf(nil, "%d.%d", i, n)
				var err error
				switch r.IntN(5) {
				case 0:
					err = s.Set(t.Context(), key, value)
				case 1:
					_, err = s.Put(t.Context(), key, value, storage.IfAbsent())
				case 2:
					err = s.Delete(t.Context(), key)
				default:
					var it storage.Item
					if it, err = own.Get(t.Context(), key); err == nil && n%2 == 0 {
						_, err = s.Put(t.Context(), key, value, storage.IfValue(it.Value))
					}
				}
				switch storage.CodeOf(err) {
				case storage.OK, storage.NotFound, storage.Conflict:
				default:
					t.Errorf("%v", err)
				}
			}
		})
	}
	all.Wait()
	return h
}

func linearizable(t *testing.T, h *storagetest.History, calls int) {
	t.Helper()
	if err := h.Check(calls, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func TestLeaderChangesAmidWrites(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b := open(t, c, quickly)
	var n atomic.Int64
	change := func(_ context.Context, node *ledgertest.Node, m string) error {
		if !strings.HasSuffix(m, "/Write") {
			return nil
		}
		switch k := n.Add(1); {
		case k%13 == 0: // between a write and its answer, which is lost
			c.Lead(int(k) % 3)
			node.Cut()
			return errCut
		case k%7 == 0:
			c.Lead(int(k) % 3)
		}
		return nil
	}
	c.Hook(ledgertest.Hooks{After: change})
	h := work(t, b, 4, 60)
	c.Hook(ledgertest.Hooks{})
	linearizable(t, h, 200)
}

func TestNodeThatHangs(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b := open(t, c, quickly)
	apply(t, b, storage.Put(bs("k"), bs("0")))
	c.Node(0).Hang()
	c.Lead(1)
	begin := time.Now()
	apply(t, b, storage.Put(bs("k"), bs("1")))
	wantValue(t, b, "k", "1")
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
	// The next do not wait for it once more.
	asked := make(chan struct{}, 100)
	c.Hook(ledgertest.Hooks{Before: func(_ context.Context, n *ledgertest.Node, m string) error {
		if n == c.Node(0) && !strings.HasSuffix(m, "/Check") {
			asked <- struct{}{}
		}
		return nil
	}})
	for range 20 {
		wantValue(t, b, "k", "1")
	}
	if len(asked) > 0 {
		t.Errorf("the node that hangs was asked %d times of 20", len(asked))
	}
	c.Hook(ledgertest.Hooks{})
	c.Node(0).Resume()
}

// An old leader goes on to answer reads from the state that it has, and takes writes
// that come to nothing.
func TestOldLeader(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b := open(t, c, quickly)
	apply(t, b, storage.Put(bs("k"), bs("0")))
	wantValue(t, b, "k", "0") // from here on heights are known to count
	c.Node(0).Isolate()
	c.Lead(1)
	apply(t, b, storage.Put(bs("k"), bs("1")))
	for range 10 {
		wantValue(t, b, "k", "1")
	}
	for _, node := range []int{1, 2} { // what is left is the old one
		if err := c.Node(node).Stop(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // it is waited for the others
	defer cancel()
	if it, err := b.Get(ctx, bs("k")); err == nil {
		t.Errorf("a read goes back to %q", it.Value)
	} else if e := storage.AsError(err); e.Code != storage.Unavailable && e.Code != storage.Timeout {
		t.Error(err)
	}
	for _, node := range []int{1, 2} {
		if err := c.Node(node).Restart(); err != nil {
			t.Fatal(err)
		}
	}
	wantValue(t, b, "k", "1")
	c.Node(0).Rejoin()
	linearizable(t, work(t, b, 3, 20), 40)
}

func TestOldLeaderAmidWork(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b := open(t, c, quickly)
	apply(t, b, storage.Put(bs("a"), bs("0")))
	wantValue(t, b, "a", "0")
	var n atomic.Int64
	c.Hook(ledgertest.Hooks{Before: func(context.Context, *ledgertest.Node, string) error {
		switch n.Add(1) {
		case 40:
			c.Node(0).Isolate()
			c.Lead(1)
		case 120:
			c.Node(0).Rejoin()
		}
		return nil
	}})
	linearizable(t, work(t, b, 4, 50), 150)
}

// A counter: what it says is how often adding to it was said to be done.
func TestCounterThroughRestarts(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b := open(t, c, quickly)
	s := storage.New(b, storage.Settings{Retry: storage.Backoff{Attempts: 1000, Base: time.Millisecond, Cap: 5 * time.Millisecond}})
	var writes, stopped atomic.Int64
	var restarts sync.WaitGroup
	c.Hook(ledgertest.Hooks{After: func(_ context.Context, node *ledgertest.Node, m string) error {
		if !strings.HasSuffix(m, "/Write") {
			return nil
		}
		if k := writes.Add(1); k%15 == 0 && stopped.Add(1) <= 4 { // there are 60 at least
			i := c.Leader()
			c.Lead((i + 1) % 3)
			restarts.Go(func() { // its calls in flight get no answer
				if err := errors.Join(c.Node(i).Stop(), c.Node(i).Restart()); err != nil {
					t.Error(err)
				}
			})
		}
		return nil
	}})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 15 {
				err := s.Update(t.Context(), func(tx *storage.Txn) error {
					n, err := storage.GetJSON[int](t.Context(), tx, bs("n"))
					if err != nil && !errors.Is(err, storage.ErrNotFound) {
						return err
					}
					return storage.SetJSON(t.Context(), tx, bs("n"), n+1)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	restarts.Wait()
	c.Hook(ledgertest.Hooks{})
	wantValue(t, b, "n", "60")
	if stopped.Load() == 0 {
		t.Error("no leader was stopped")
	}
}
