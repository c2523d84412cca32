package cache_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/cachetest"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// shared is a backend with changes that several hosts may write to.
func shared(t *testing.T) storage.Backend {
	b := memory.New(memory.DefaultConfig(), sdk.Env{Now: time.Now})
	t.Cleanup(func() { b.Close(ctx) })
	hub := wrappers.NewHub(b)
	hub.KeepChanges(time.Now)
	return hub.Backend()
}

// Two hosts see each other's writes within the bound, whatever becomes of their followers.
func TestTwoHosts(t *testing.T) {
	b := shared(t)
	cachetest.Run(t, b, b, 150*time.Millisecond, 4*time.Second)
}

// What others write is seen at once, not only after the bound.
func TestOthersAreSeenAtOnce(t *testing.T) {
	b := shared(t)
	delays := cachetest.Delays(t, b, b, 100)
	if p50 := delays[50]; p50 > 100*time.Millisecond {
		t.Errorf("half of the writes are seen after %s", p50)
	}
	t.Logf("p50 %s, p99 %s", delays[50], delays[98])
}

// While the follower is lost nothing comes from memory, and health says why.
func TestAFollowerThatIsLost(t *testing.T) {
	b := shared(t)
	h := cachetest.NewHost(t, b, 40*time.Millisecond)
	hits := func() uint64 {
		before := h.Cache.Stats().Hits
		for range 5 {
			h.Cache.Get(ctx, key)
		}
		return h.Cache.Stats().Hits - before
	}
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for until := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("not seen in ten seconds: %s", what)
			}
		}
	}
	eventually("hits", func() bool { return hits() > 0 })
	h.Refuse(true)
	eventually("no hits", func() bool { return hits() == 0 })
	time.Sleep(200 * time.Millisecond)
	if n := hits(); n > 0 {
		t.Errorf("%d hits without a follower", n)
	}
	health, err := h.Cache.Health(ctx, storage.Readiness)
	if err != nil || health.Status != storage.Degraded || !strings.Contains(health.Reason, "refused by the test") {
		t.Errorf("%+v, %v", health, err)
	}
	h.Refuse(false)
	eventually("hits again", func() bool { return hits() > 0 })
	if health, err := h.Cache.Health(ctx, storage.Readiness); err != nil || health.Status != storage.Healthy {
		t.Errorf("%+v, %v", health, err)
	}
}

// A follower whose version is gone begins again, and nothing that was cached before is believed.
func TestAFollowerThatMissedChanges(t *testing.T) {
	below := memory.New(memory.DefaultConfig(), sdk.Env{Now: time.Now})
	defer below.Close(ctx)
	hub := wrappers.NewHub(below)
	hub.KeepChanges(time.Now)
	h := cachetest.NewHost(t, hub.Backend(), 10*time.Second)
	put := func(value string) {
		t.Helper()
		if _, err := hub.Backend().Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte(value))}}); err != nil {
			t.Fatal(err)
		}
	}
	put("1")
	for until := time.Now().Add(10 * time.Second); h.Cache.Stats().Hits == 0 && time.Now().Before(until); time.Sleep(time.Millisecond) {
		h.Cache.Get(ctx, key)
	}
	if h.Cache.Stats().Hits == 0 {
		t.Fatal("no hit")
	}
	h.Delay(300 * time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	put("2")
	hub.StateLost() // its changes are gone
	h.Delay(0)
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		it, err := h.Cache.Get(ctx, key)
		if err == nil && string(it.Value) == "2" {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("still %q, %v", it.Value, err)
		}
	}
}

// Who hears of a change through a host does not find the item before it in that host's cache.
func TestAChangeIsHeardOfAfterTheCaches(t *testing.T) {
	b := shared(t)
	h := cachetest.NewHost(t, b, 10*time.Second)
	put := func(value string) {
		t.Helper()
		if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key, []byte(value))}}); err != nil {
			t.Fatal(err)
		}
	}
	put("1")
	page, err := b.Changes(ctx, storage.ChangeQuery{FromNow: true})
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); h.Cache.Stats().Hits == 0 && time.Now().Before(until); time.Sleep(time.Millisecond) {
		h.Cache.Get(ctx, key)
	}
	h.Delay(500 * time.Millisecond) // of the host's own call, which is under way
	put("2")
	time.Sleep(50 * time.Millisecond)
	h.Delay(0)
	if page, err = h.Cache.Changes(ctx, storage.ChangeQuery{After: page.Next, Wait: time.Minute}); err != nil || len(page.Changes) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	if it, err := h.Cache.Get(ctx, key); err != nil || string(it.Value) != "2" {
		t.Errorf("after the change was heard of, the cache has %q, %v", it.Value, err)
	}
}
