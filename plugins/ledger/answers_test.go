package ledger_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// once runs f the first time that it is called about a method, and never again.
func once(method string, f func(n *ledgertest.Node) error) func(context.Context, *ledgertest.Node, string) error {
	var done atomic.Bool
	return func(_ context.Context, n *ledgertest.Node, m string) error {
		if strings.HasSuffix(m, method) && !done.Swap(true) {
			return f(n)
		}
		return nil
	}
}

// errCut is an error that does not arrive: the connection is gone.
var errCut = errors.New("cut")

func TestAnswerThatIsLost(t *testing.T) {
	cut := func(n *ledgertest.Node) error { n.Cut(); return errCut }
	for name, hooks := range map[string]func(*ledgertest.Cluster) ledgertest.Hooks{
		"cut after it was done":  func(*ledgertest.Cluster) ledgertest.Hooks { return ledgertest.Hooks{After: once("/Write", cut)} },
		"cut before it was done": func(*ledgertest.Cluster) ledgertest.Hooks { return ledgertest.Hooks{Before: once("/Write", cut)} },
		"cut after it was done, and another leads": func(c *ledgertest.Cluster) ledgertest.Hooks {
			return ledgertest.Hooks{After: once("/Write", func(n *ledgertest.Node) error { c.Lead(1); return cut(n) })}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, ledgertest.Options{Nodes: 3})
			b := open(t, c, quickly)
			apply(t, b, storage.Put(bs("k"), bs("0")))
			before := height(t, c)
			c.Hook(hooks(c))
			// Done twice it would be a conflict, or another block.
			_, err := storage.New(b, storage.Settings{}).Put(t.Context(), bs("k"), bs("1"), storage.IfValue(bs("0")))
			if err != nil {
				t.Fatal(err)
			}
			c.Hook(ledgertest.Hooks{})
			wantValue(t, b, "k", "1")
			if got := height(t, c) - before; got != 1 {
				t.Errorf("the write was done %d times", got)
			}
		})
	}
}

// With a TTL the repeat would be other bytes if the expiry were counted again.
func TestRepeatIsTheSameBytes(t *testing.T) {
	clock := storagetest.NewClock()
	c := cluster(t, ledgertest.Options{Nodes: 3, Clock: clock.Now})
	b := openAt(t, c, clock, quickly)
	before := height(t, c)
	c.Hook(ledgertest.Hooks{After: once("/Write", func(n *ledgertest.Node) error {
		clock.Advance(5 * time.Second)
		n.Cut()
		return errCut
	})})
	if _, err := storage.New(b, storage.Settings{Clock: clock.Now}).Put(t.Context(), bs("k"), bs("v"), storage.WithTTL(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := height(t, c) - before; got != 1 {
		t.Errorf("the write was done %d times", got)
	}
}

func TestUnknownOutcome(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 2})
	b := open(t, c, func(c *ledger.Config) {
		c.Timeouts = ledger.Timeouts{Read: "5s", Write: "2s", List: "5s", Attempt: "1s"}
	})
	c.Hook(ledgertest.Hooks{After: func(_ context.Context, n *ledgertest.Node, m string) error {
		n.Cut() // its answer never arrives
		return errCut
	}})
	_, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("v"))}})
	if e := wantCode(t, err, storage.OutcomeUnknown); !e.Unknown || e.Retryable() {
		t.Errorf("the error is %+v", e)
	}
	c.Hook(ledgertest.Hooks{})
	wantValue(t, b, "k", "v")
	for _, i := range []int{0, 1} {
		if err := c.Node(i).Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Get(t.Context(), bs("k")); storage.CodeOf(err) != storage.Unavailable { // connections are known to be gone
		t.Errorf("no node is there, and a read ends with %v", err)
	}
	_, err = b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("w"))}})
	if e := storage.AsError(err); e == nil || e.Unknown || e.Code != storage.Unavailable && e.Code != storage.Timeout {
		t.Errorf("no node is there, and the write ends with %v", err)
	}
}

// A caller who leaves while a write is on its way does not know.
func TestCallerLeaves(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	c.Hook(ledgertest.Hooks{After: once("/Write", func(*ledgertest.Node) error { cancel(); <-ctx.Done(); return ctx.Err() })})
	_, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("v"))}})
	if e := wantCode(t, err, storage.OutcomeUnknown); !errors.Is(e, context.Canceled) {
		t.Errorf("the error does not tell why: %v", err)
	}
	wantValue(t, b, "k", "v")
}

// A write that may have been done is repeated for as long as there is time, however
// few attempts a call is worth otherwise.
func TestUnsettledWritesAreWorthMore(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c, func(c *ledger.Config) { c.Retry.Attempts = 1 })
	n := 0
	c.Hook(ledgertest.Hooks{After: func(_ context.Context, node *ledgertest.Node, m string) error {
		if n++; n <= 3 {
			node.Cut()
			return errCut
		}
		return nil
	}})
	apply(t, b, storage.Put(bs("k"), bs("v")))
	c.Hook(ledgertest.Hooks{})
	if got := height(t, c); got != 1 {
		t.Errorf("the write was done %d times", got)
	}
}

// Nodes that are not there cost no attempts while another may be.
func TestNodesThatAreNotThere(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c, func(c *ledger.Config) {
		c.Endpoints = append([]string{"http://127.0.0.1:1", "http://127.0.0.1:2"}, c.Endpoints...)
		c.Retry.Attempts = 1
	})
	apply(t, b, storage.Put(bs("k"), bs("v")))
	wantValue(t, b, "k", "v")
}
