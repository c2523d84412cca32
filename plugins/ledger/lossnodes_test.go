package ledger_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
)

// One node of three is not the cluster: what it does not have may be with the others, and reads
// do not go on without them.
func TestMinorityIsNotTheCluster(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b, log := losing(t, c, ledger.ContinueOnLoss)
	apply(t, b, storage.Put(bs("k"), bs("1")))
	wantValue(t, b, "k", "1")
	c.Node(2).Isolate()
	apply(t, b, storage.Put(bs("k"), bs("2")))
	for i := range 2 {
		if err := c.Node(i).Stop(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // five elections
	defer cancel()
	if it, err := b.Get(ctx, bs("k")); err == nil {
		t.Errorf("the read answers %q", it.Value)
	}
	if h, err := b.Health(t.Context(), storage.Readiness); err != nil || h.Status == storage.Healthy || log.String() != "" {
		t.Errorf("health is %+v, %v, the log %q", h, err, log)
	}
	for i := range 2 {
		if err := c.Node(i).Restart(); err != nil {
			t.Fatal(err)
		}
	}
	wantValue(t, b, "k", "2")
	c.Node(2).Rejoin()
}

// A node that has restarted and reports nothing yet answers no read and no list, even
// if it took the last write, and even if reads are eventual.
func TestAnswersOfAnEmptyNode(t *testing.T) {
	for _, reading := range []string{ledger.Linearizable, ledger.Eventual} {
		t.Run(reading, func(t *testing.T) {
			c := cluster(t, ledgertest.Options{Nodes: 3})
			b := open(t, c, quickly, func(l *ledger.Config) { l.ReadConsistency = reading })
			apply(t, b, storage.Put(bs("k"), bs("1")))
			wantValue(t, b, "k", "1")
			c.Node(0).Cut()
			c.Node(0).Empty(true)
			for range 4 {
				wantValue(t, b, "k", "1")
				if got := keys(t, b, nil, nil); len(got) != 1 {
					t.Errorf("the list is %q", got)
				}
				if items, err := b.GetMany(t.Context(), [][]byte{bs("k")}); err != nil || len(items) != 1 {
					t.Errorf("the keys are %v, %v", items, err)
				}
			}
			// To a backend that has seen nothing yet it is no answer either.
			for range 3 {
				wantValue(t, open(t, c, quickly, func(l *ledger.Config) { l.ReadConsistency = reading }), "k", "1")
			}
		})
	}
}

// A single node that restarts without its organization accepts no write and answers no read.
func TestNodeThatForgets(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Quirks: without(func(q *ledgertest.Quirks) { q.LosesOrganization = true })})
	b, _ := losing(t, c, ledger.FailOnLoss)
	apply(t, b, storage.Put(bs("k"), bs("1")))
	wantValue(t, b, "k", "1")
	if err := c.Node(0).Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.Node(0).Restart(); err != nil {
		t.Fatal(err)
	}
	_, err := b.Get(t.Context(), bs("k"))
	if e := wantCode(t, err, storage.Unavailable); !strings.Contains(e.Error(), "lost") {
		t.Errorf("the error is %v", e)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("2"))}}); err == nil {
		t.Error("a write was taken")
	}
}

// What an acknowledgement says is held against what the node said before, and a key
// that it names against those of the write.
func TestAcknowledgementsThatDoNotFit(t *testing.T) {
	c := cluster(t, ledgertest.Options{})
	b := open(t, c, func(l *ledger.Config) { l.OnLoss = ledger.ContinueOnLoss })
	for range 8 {
		apply(t, b, storage.Put(bs("k"), bs("1")))
	}
	wantValue(t, b, "k", "1")
	for _, height := range []uint64{8, 5} {
		before := b.Info().Incarnation
		c.Node(0).AckAt(height)
		_, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), bs("2"))}})
		if e := wantCode(t, err, storage.OutcomeUnknown); !e.Unknown {
			t.Errorf("the error is %+v", e)
		}
		for b.Info().Incarnation == before { // the loss is reported
			time.Sleep(time.Millisecond)
		}
		apply(t, b, storage.Put(bs("k"), bs("3"))) // and goes on from there
		wantValue(t, b, "k", "3")
	}
	insert := func() error {
		return errOf(storage.New(b, storage.Settings{}).Put(t.Context(), bs("k"), bs("4"), storage.IfAbsent()))
	}
	wantCode(t, insert(), storage.Conflict)
	c.Node(0).Misname("6c")
	wantCode(t, insert(), storage.OutcomeUnknown)
	c.Node(0).Misname("")
	wantCode(t, insert(), storage.Conflict)
}

// Heights that each node counts for itself make no read hang.
func TestHeightsThatDiverge(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Nodes: 3})
	for i, by := range []uint64{20_000, 13_000, 0} {
		c.Node(i).Skew(by)
	}
	b, log := losing(t, c, ledger.ContinueOnLoss)
	for i := range 6 {
		c.Lead(i % 3)
		apply(t, b, storage.Put(bs("k"), bs(string(rune('a'+i)))))
		wantValue(t, b, "k", string(rune('a'+i)))
	}
	if !strings.Contains(log.String(), "twice") {
		t.Errorf("the log is %q", log)
	}
}

// A node that hung and was killed is asked along with the others until it answers.
func TestLostNodeIsTriedBeside(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b := open(t, c, func(l *ledger.Config) { l.Timeouts.Read = "3s" })
	apply(t, b, storage.Put(bs("k"), bs("1")))
	wantValue(t, b, "k", "1")
	if err := c.Node(0).Stop(); err != nil {
		t.Fatal(err)
	}
	c.Lead(1)
	wantValue(t, b, "k", "1")
	c.Node(0).Hang()
	if err := c.Node(0).Restart(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 1200*time.Millisecond; { // past its penalty, several times
		one := time.Now()
		wantValue(t, b, "k", "1")
		if took := time.Since(one); took > 800*time.Millisecond {
			t.Fatalf("a read took %s with two nodes that answer", took)
		}
	}
	c.Node(0).Resume()
	c.Lead(0)
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) { // it is one of them again
		writes := 0
		c.Hook(ledgertest.Hooks{Before: func(_ context.Context, n *ledgertest.Node, m string) error {
			if n == c.Node(0) && strings.HasSuffix(m, "/Read") {
				writes++
			}
			return nil
		}})
		apply(t, b, storage.Put(bs("k"), bs("2")))
		wantValue(t, b, "k", "2")
		c.Hook(ledgertest.Hooks{})
		if writes > 0 {
			return
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("the node is not asked again")
		}
	}
}
