package ledger_test

import (
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/cachetest"
	"github.com/plinthkv/plinth/internal/ledger/ledgertest"
	"github.com/plinthkv/plinth/plugins/ledger"
	"github.com/plinthkv/plinth/storage"
)

// noTTL lets a cache keep what others have written: reads do not report when it expires.
func noTTL(c *ledger.Config) { c.TTL = false }

// The caches of two hosts over one vault see each other's writes within the bound, also while
// their followers are held up and cut off, and the streams of announcements are cut, silent
// and of a node that does not lead any more.
func TestCachesOfTwoHosts(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{Nodes: 3})
	over := make(chan struct{})
	var disturbing sync.WaitGroup
	disturbing.Go(func() { disturb(c, over) })
	cachetest.Run(t, open(t, c, noTTL), open(t, c, noTTL), 300*time.Millisecond, 5*time.Second)
	close(over)
	disturbing.Wait()
}

// disturb cuts streams of announcements, has the leader announce nothing, breaks connections,
// and has others lead.
func disturb(c *ledgertest.Cluster, over <-chan struct{}) {
	rest := func(d time.Duration) bool {
		select {
		case <-over:
			return false
		case <-time.After(d):
			return true
		}
	}
	for i := 0; rest(100 * time.Millisecond); i++ {
		switch n := c.Node(c.Leader()); i % 4 {
		case 0:
			n.EndWatches()
		case 1:
			n.Mute(true)
			rest(400 * time.Millisecond)
			n.Mute(false)
		case 2:
			n.Cut()
		case 3:
			c.Lead((c.Leader() + 1) % 3)
		}
	}
}

// What another host writes is seen at once, not only after the bound.
func TestOthersAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{})
	delays := cachetest.Delays(t, open(t, c, noTTL), open(t, c, noTTL), 50)
	if p50 := delays[25]; p50 > 100*time.Millisecond {
		t.Errorf("half of the writes are seen after %s", p50)
	}
	t.Logf("what another host writes is seen after %s, p99 %s", delays[25], delays[49])
}

// A host that writes alone keeps what it has in its cache: its own blocks are no others'.
func TestOwnWritesLeaveTheCache(t *testing.T) {
	t.Parallel()
	c := cluster(t, ledgertest.Options{})
	h := cachetest.NewHost(t, open(t, c), time.Second)
	apply(t, h.Cache, storage.Put(bs("kept"), bs("v")))
	hit := func() bool {
		before := h.Cache.Stats().Hits
		_, err := h.Cache.Get(t.Context(), bs("kept"))
		return err == nil && h.Cache.Stats().Hits > before
	}
	either := func() bool { // the first read may fill the cache
		first := hit()
		return hit() || first
	}
	kept := func() bool {
		for end := time.Now().Add(10 * time.Second); !either(); time.Sleep(5 * time.Millisecond) {
			if apply(t, h.Cache, storage.Put(bs("kept"), bs("v"))); time.Now().After(end) {
				t.Fatal("no hit")
			}
		}
		var writing sync.WaitGroup
		for i := range 8 {
			writing.Go(func() {
				for range 20 {
					apply(t, h.Cache, storage.Put([]byte{'a' + byte(i)}, nil))
				}
			})
		}
		writing.Wait()
		time.Sleep(100 * time.Millisecond)
		return hit()
	}
	for tries := 1; !kept(); tries++ { // on a busy machine an acknowledgement may come late
		if tries == 10 {
			t.Fatal("own writes empty the cache")
		}
	}
	hit()
	apply(t, open(t, c), storage.Put(bs("other"), nil))
	for end := time.Now().Add(10 * time.Second); hit(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the write of another has not emptied the cache")
		}
	}
}
