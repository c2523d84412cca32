package ledger_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// The loss of acknowledged writes is reported: by health, log, error and incarnation,
// with the height of each node.

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// losing opens a backend that waits for an election for 200 ms, and returns its log.
func losing(t *testing.T, c *ledgertest.Cluster, onLoss string) (*ledger.Backend, *lockedBuffer) {
	t.Helper()
	log := new(lockedBuffer)
	b, err := ledger.New(t.Context(), settings(c, quickly, func(l *ledger.Config) {
		l.ElectionWait, l.OnLoss, l.Retry.Attempts = "200ms", onLoss, 3
		l.Timeouts.Read, l.Timeouts.List = "5s", "5s"
	}), sdk.Env{Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	return b, log
}

// ways are those in which acknowledged writes are lost. Each begins with k at 1, which
// was read, then 2, which is lost.
var ways = map[string]func(t *testing.T, c *ledgertest.Cluster, b *ledger.Backend){
	"a node restarts without the last writes, and leads": func(t *testing.T, c *ledgertest.Cluster, b *ledger.Backend) {
		c.Checkpoint()
		apply(t, b, storage.Put(bs("k"), bs("2")))
		if err := c.Lose(0); err != nil {
			t.Fatal(err)
		}
	},
	"the leader acknowledges alone, and is killed": func(t *testing.T, c *ledgertest.Cluster, b *ledger.Backend) {
		c.Node(0).Alone()
		apply(t, b, storage.Put(bs("k"), bs("2")))
		if err := c.Node(0).Stop(); err != nil {
			t.Fatal(err)
		}
		c.Lead(1)
	},
	"the leader acknowledges alone, and comes back to the others": func(t *testing.T, c *ledgertest.Cluster, b *ledger.Backend) {
		c.Node(0).Alone()
		apply(t, b, storage.Put(bs("k"), bs("2")))
		if err := c.Node(0).Stop(); err != nil {
			t.Fatal(err)
		}
		c.Node(0).Rejoin()
		if err := c.Node(0).Restart(); err != nil {
			t.Fatal(err)
		}
	},
}

func TestLossIsTold(t *testing.T) {
	for name, lose := range ways {
		for _, onLoss := range []string{ledger.FailOnLoss, ledger.ContinueOnLoss} {
			t.Run(name+", then "+onLoss, func(t *testing.T) {
				t.Parallel()
				c := cluster(t, ledgertest.Options{Nodes: 3})
				b, log := losing(t, c, onLoss)
				apply(t, b, storage.Put(bs("k"), bs("1")))
				wantValue(t, b, "k", "1")
				before := b.Info().Incarnation
				lose(t, c, b)
				it, err := b.Get(t.Context(), bs("k"))
				if onLoss == ledger.ContinueOnLoss && (err != nil || string(it.Value) != "1") {
					t.Errorf("the read answers %q, %v", it.Value, err)
				}
				if onLoss == ledger.FailOnLoss {
					e := wantCode(t, err, storage.Unavailable)
					for _, node := range c.Endpoints() {
						if !strings.Contains(e.Error(), node) {
							t.Errorf("the error does not name %s: %v", node, e)
						}
					}
					_, err = b.Scan(t.Context(), storage.Query{})
					wantCode(t, err, storage.Unavailable)
				}
				if b.Info().Incarnation == before {
					t.Error("the incarnation is the same")
				}
				h, err := b.Health(t.Context(), storage.Readiness)
				want := map[string]storage.Status{ledger.FailOnLoss: storage.Unhealthy, ledger.ContinueOnLoss: storage.Degraded}[onLoss]
				if err != nil || h.Status != want || !strings.Contains(h.Reason, "lost acknowledged writes") || h.Details["losses"] != "1" {
					t.Errorf("health is %+v, %v", h, err)
				}
				for range 5 {
					_, _ = b.Get(t.Context(), bs("k"))
				}
				if n := strings.Count(log.String(), "lost acknowledged writes"); n != 1 {
					t.Errorf("it was logged %d times:\n%s", n, log)
				}
			})
		}
	}
}

// A node that is behind for less than an election is waited for, and nothing is lost.
func TestElectionIsWaitedFor(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b, log := losing(t, c, ledger.FailOnLoss)
	apply(t, b, storage.Put(bs("k"), bs("1")))
	wantValue(t, b, "k", "1")
	for i := range 3 {
		c.Node(i).Isolate()
	}
	c.Node(0).Rejoin()
	apply(t, b, storage.Put(bs("k"), bs("2")))
	before := b.Info().Incarnation
	c.Node(0).Isolate() // for its heights to be its own, and gone
	if err := c.Node(0).Stop(); err != nil {
		t.Fatal(err)
	}
	later := time.AfterFunc(100*time.Millisecond, func() { c.Node(1).Rejoin(); c.Lead(1) })
	defer later.Stop()
	wantValue(t, b, "k", "2")
	if b.Info().Incarnation != before || log.String() != "" {
		t.Errorf("a loss was told: %s", log)
	}
	c.Node(0).Rejoin()
	c.Node(2).Rejoin()
}

// Reads go on by themselves once a node has again what was acknowledged.
func TestLossThatComesBack(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b, _ := losing(t, c, ledger.FailOnLoss)
	apply(t, b, storage.Put(bs("k"), bs("1")))
	wantValue(t, b, "k", "1")
	c.Node(1).Isolate()
	c.Node(2).Isolate()
	apply(t, b, storage.Put(bs("k"), bs("2")))
	if err := c.Node(0).Stop(); err != nil {
		t.Fatal(err)
	}
	_, err := b.Get(t.Context(), bs("k"))
	wantCode(t, err, storage.Unavailable)
	if err := c.Node(0).Restart(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		it, err := b.Get(t.Context(), bs("k"))
		if err == nil && string(it.Value) == "2" {
			break
		}
		if err == nil || time.Since(begin) > 10*time.Second {
			t.Fatalf("the read answers %q, %v", it.Value, err)
		}
	}
	c.Node(1).Rejoin()
	c.Node(2).Rejoin()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) { // the look at all nodes may not be at its end
		h, err := b.Health(t.Context(), storage.Readiness)
		if err == nil && h.Status == storage.Healthy {
			return
		}
		if time.Since(begin) > 5*time.Second {
			t.Fatalf("health is %+v, %v", h, err)
		}
	}
}

// A caller's own time is what a read has parts of, and the reason of a failure is not
// that time ran out later.
func TestReadWithLittleTime(t *testing.T) {
	c := cluster(t, ledgertest.Options{Nodes: 2})
	b := open(t, c)
	apply(t, b, storage.Put(bs("k"), bs("1")))
	c.Node(0).Hang()
	c.Lead(1)
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond) // a third of timeouts.read would be 1.7 s
	defer cancel()
	if it, err := b.Get(ctx, bs("k")); err != nil || string(it.Value) != "1" {
		t.Errorf("the read answers %q, %v", it.Value, err)
	}
	c.Node(0).Resume()
}

func TestReasonIsNotMasked(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Nodes: 2})
	b := open(t, c, func(l *ledger.Config) { l.Timeouts.Read = "500ms" })
	apply(t, b, storage.Put(bs("k"), bs("1")))
	wantValue(t, b, "k", "1")
	c.Node(1).Isolate()
	apply(t, b, storage.Put(bs("k"), bs("2")))
	c.Node(0).Hang()
	_, err := b.Get(t.Context(), bs("k"))
	if e := wantCode(t, err, storage.Unavailable); !strings.Contains(e.Error(), "behind what was acknowledged") {
		t.Errorf("the error is %v", e)
	}
	c.Node(0).Resume()
	c.Node(1).Rejoin()
}
