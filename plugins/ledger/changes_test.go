package ledger_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/plinthkv/plinth/internal/ledger/ledgerpb"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// version returns b's version, once it reports twice in a row that there were no other writes.
func version(t *testing.T, b storage.Backend) uint64 {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		page, err := b.Changes(t.Context(), storage.ChangeQuery{FromNow: true})
		if err != nil {
			continue
		}
		if _, err := b.Changes(t.Context(), storage.ChangeQuery{After: page.Next, Wait: 50 * time.Millisecond}); err == nil {
			return page.Next
		}
	}
	t.Fatal("it comes to no rest")
	return 0
}

// gone returns how long it takes until b reports that others have written since a version.
func gone(t *testing.T, b storage.Backend, since uint64) time.Duration {
	t.Helper()
	began := time.Now()
	_, err := b.Changes(t.Context(), storage.ChangeQuery{After: since, Wait: 10 * time.Second})
	wantCode(t, err, storage.VersionGone)
	return time.Since(began)
}

// watched waits until a stream of announcements has begun at a node.
func watched(t *testing.T, n *ledgertest.Node) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); n.Watches() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no stream of announcements")
		}
	}
}

// Who waits hears of a write of others at once, by a stream from the node that leads, also when
// another comes to lead, the stream ends, the connection breaks or the node starts again.
func TestNoticesFollowTheLeader(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Nodes: 3})
	c.Lead(1)
	b, other := open(t, c), open(t, c)
	for name, disturb := range map[string]func(n *ledgertest.Node){
		"nothing":             func(*ledgertest.Node) {},
		"another leads":       func(*ledgertest.Node) { c.Lead((c.Leader() + 1) % 3) },
		"the stream ends":     (*ledgertest.Node).EndWatches,
		"the connection ends": (*ledgertest.Node).Cut,
		"the node starts again": func(n *ledgertest.Node) {
			if err := errors.Join(n.Stop(), n.Restart()); err != nil {
				t.Error(err)
			}
		},
	} {
		version(t, b)
		watched(t, c.Node(c.Leader()))
		disturb(c.Node(c.Leader()))
		leads := c.Node(c.Leader())
		apply(t, other, storage.Put(bs("k"), nil)) // reads find out what a stream does not report
		watchedSoon(t, b, leads)
		since := version(t, b)
		var writing sync.WaitGroup
		writing.Go(func() {
			time.Sleep(20 * time.Millisecond)
			apply(t, other, storage.Put(bs("k"), nil))
		})
		if took := gone(t, b, since); took > 2*time.Second {
			t.Errorf("%s: a write is noticed after %s", name, took)
		}
		writing.Wait() // the version may be gone before it: what a new stream does not know is others'
	}
}

// Writes while there is no stream are reported by the next one, which begins where the
// last one ended.
func TestNoticesBetweenStreams(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{})
	b, other := open(t, c), open(t, c)
	since := version(t, b)
	watched(t, c.Node(0))
	c.Hook(ledgertest.Hooks{Before: afterEach("WatchBlocks", func() { time.Sleep(50 * time.Millisecond) })})
	c.Node(0).EndWatches()
	apply(t, other, storage.Put(bs("k"), nil))
	if took := gone(t, b, since); took > 2*time.Second {
		t.Errorf("it is noticed after %s", took)
	}
}

// watchedSoon is watched while the version is asked for, as a host does.
func watchedSoon(t *testing.T, b storage.Backend, n *ledgertest.Node) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); n.Watches() == 0; time.Sleep(20 * time.Millisecond) {
		version(t, b)
		if time.Now().After(end) {
			t.Fatal("no stream of announcements")
		}
	}
}

// A silent stream is distinguished from a vault without writes by the height of reads,
// and is begun again.
func TestNoticesOfASilentStream(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{})
	b, other := open(t, c), open(t, c)
	since, begun := version(t, b), requests(c, "WatchBlocks")
	watched(t, c.Node(0))
	c.Node(0).Mute(true)
	apply(t, other, storage.Put(bs("k"), nil))
	if _, err := b.Changes(t.Context(), storage.ChangeQuery{After: since, Wait: 50 * time.Millisecond}); err != nil {
		t.Fatalf("a silent stream tells: %v", err)
	}
	page, err := b.Changes(t.Context(), storage.ChangeQuery{FromNow: true})
	if err != nil || page.Next == since {
		t.Fatalf("a read does not tell what a silent stream does not: %+v, %v", page, err)
	}
	gone(t, b, since)
	c.Node(0).Mute(false)
	for end := time.Now().Add(10 * time.Second); begun.Load() == 0; time.Sleep(20 * time.Millisecond) {
		version(t, b)
		if time.Now().After(end) {
			t.Fatal("it is not begun again")
		}
	}
}

// The server ends a stream whose reader is too far behind, and starts one with what it has
// archived: nothing is missed by it.
func TestNoticesOfAReaderThatIsBehind(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{})
	b, other := open(t, c), open(t, c)
	since := version(t, b)
	watched(t, c.Node(0))
	begun := requests(c, "WatchBlocks")
	c.Node(0).HoldWatches(true)
	for range 1100 {
		apply(t, other, storage.Put(bs("k"), nil))
	}
	c.Node(0).HoldWatches(false)
	gone(t, b, since)
	for end := time.Now().Add(10 * time.Second); begun.Load() == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not begun again")
		}
	}
	version(t, b)
}

// Calls that wait end with their callers and with the backend, and with reads that are not
// linearizable there are no notices.
func TestNoticesEnd(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{})
	b, err := ledger.New(t.Context(), settings(c), sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	since := version(t, b)
	var waiting sync.WaitGroup
	for range 20 {
		waiting.Go(func() {
			_, err := b.Changes(context.Background(), storage.ChangeQuery{After: since, Wait: time.Hour})
			if !errors.Is(err, storage.ErrShuttingDown) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting.Wait()
	if _, err := b.Changes(t.Context(), storage.ChangeQuery{FromNow: true}); !errors.Is(err, storage.ErrShuttingDown) {
		t.Errorf("after the end: %v", err)
	}
	eventual := open(t, c, func(c *ledger.Config) { c.ReadConsistency = ledger.Eventual })
	if _, err := eventual.Changes(t.Context(), storage.ChangeQuery{FromNow: true}); !errors.Is(err, storage.ErrUnsupported) || eventual.Info().Caps.Has(storage.CapChangeNotice) {
		t.Errorf("with eventual reads: %v, %s", err, eventual.Info().Caps)
	}
}

// Nothing is known while no node answers; a loss is reported as a write of others.
func TestNoticesWithoutACluster(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Nodes: 3})
	b := open(t, c, func(c *ledger.Config) { c.Timeouts.Read, c.OnLoss = "500ms", ledger.ContinueOnLoss })
	apply(t, b, storage.Put(bs("k"), nil))
	since := version(t, b)
	for i := range 3 {
		if err := c.Node(i).Stop(); err != nil {
			t.Fatal(err)
		}
	}
	if page, err := b.Changes(t.Context(), storage.ChangeQuery{FromNow: true}); err == nil {
		t.Errorf("with no node there, the version is %d", page.Next)
	}
	for i := range 3 {
		if err := c.Node(i).Restart(); err != nil {
			t.Fatal(err)
		}
	}
	gone(t, b, since)
	since = version(t, b)
	c.Node(c.Leader()).AckAt(1) // a height that was acknowledged before
	_, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{storage.Put(bs("k"), nil)}})
	if err == nil || !strings.Contains(err.Error(), "height 1") {
		t.Fatalf("an acknowledgement of what was there: %v", err)
	}
	gone(t, b, since)
}

// A node answers a stream as the real one does: only the leader, from height 1 on, with what
// was archived first, and of writes that are done together with the last.
func TestLedgertestWatchBlocks(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Nodes: 2})
	b := open(t, c)
	for range 3 {
		apply(t, b, storage.Put(bs("k"), nil))
	}
	c.Drop(ledgertest.Vault, 2)
	request := func(from uint64) *ledgerpb.WatchBlocksRequest {
		return &ledgerpb.WatchBlocksRequest{Organization: orgSlug(), Vault: vaultSlug(), StartHeight: from}
	}
	for _, bad := range []struct {
		node int
		from uint64
	}{{1, 1}, {0, 0}} {
		if heights, err := stream(t, c.Node(bad.node), request(bad.from), 1); err == nil {
			t.Errorf("node %d announces %v from %d on", bad.node, heights, bad.from)
		}
	}
	heights, err := stream(t, c.Node(0), request(1), 2)
	if err != nil || len(heights) != 2 || heights[0] != 1 || heights[1] != 3 {
		t.Errorf("it announces %v, %v", heights, err)
	}
}

// stream is the heights that a node announces, as many as wanted, or how that ends.
func stream(t *testing.T, n *ledgertest.Node, request *ledgerpb.WatchBlocksRequest, want int) (heights []uint64, err error) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(n.Endpoint(), "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/ledger.v1.ReadService/WatchBlocks")
	if err == nil {
		err = errors.Join(s.SendMsg(request), s.CloseSend())
	}
	for err == nil && len(heights) < want {
		a := new(ledgerpb.BlockAnnouncement)
		if err = s.RecvMsg(a); err == nil {
			heights = append(heights, a.Height)
		}
	}
	return heights, err
}
