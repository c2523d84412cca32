package cache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/cachetest"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/cache"
)

// noticing reports of a backend with changes that it changed, but not what.
type noticing struct{ storage.Backend }

func (n noticing) Info() storage.Info {
	info := n.Backend.Info()
	info.Caps = info.Caps&^storage.CapChanges | storage.CapChangeNotice
	return info
}

func (n noticing) Changes(ctx context.Context, q storage.ChangeQuery) (storage.ChangePage, error) {
	page, err := n.Backend.Changes(ctx, q)
	if err == nil && len(page.Changes) > 0 {
		return storage.ChangePage{}, storage.Errorf(storage.VersionGone, "something was written after version %d", q.After)
	}
	return page, err
}

// Two hosts over a backend that only reports that it changed see each other's writes
// within the bound, and at once.
func TestTwoHostsWithNotices(t *testing.T) {
	b := noticing{shared(t)}
	cachetest.Run(t, b, b, 150*time.Millisecond, 4*time.Second)
	delays := cachetest.Delays(t, b, b, 100)
	if p50 := delays[50]; p50 > 100*time.Millisecond {
		t.Errorf("half of the writes are seen after %s", p50)
	}
	t.Logf("p50 %s, p99 %s", delays[50], delays[98])
}

// A notice does not keep the follower back, and is for the hub alone.
func TestNoticesStayBelowTheHub(t *testing.T) {
	b := noticing{shared(t)}
	h := cachetest.NewHost(t, b, 40*time.Millisecond)
	for until := time.Now().Add(500 * time.Millisecond); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if _, err := b.Apply(ctx, &storage.WriteSet{Ops: []storage.Op{storage.Put(key, nil)}}); err != nil {
			t.Fatal(err)
		}
	}
	if health, err := h.Cache.Health(ctx, storage.Readiness); err != nil || health.Status != storage.Healthy {
		t.Errorf("others write, and health is %+v, %v", health, err)
	}
	if caps := h.Hub.Backend().Info().Caps; caps&(storage.CapChanges|storage.CapChangeNotice) != 0 {
		t.Errorf("above the hub there are %s", caps)
	}
	for _, q := range []storage.ChangeQuery{{FromNow: true}, {After: 1, Wait: time.Minute}} {
		if _, err := h.Hub.Backend().Changes(ctx, q); !errors.Is(err, storage.ErrUnsupported) {
			t.Errorf("changes above the hub: %v", err)
		}
	}
}

// What follows, and how, is said.
func TestCacheSaysHowItFollows(t *testing.T) {
	c := cache.DefaultConfig()
	for _, one := range []struct {
		below    wrappers.Below
		how      string
		warnings int
	}{
		{wrappers.Below{Shared: true, Notices: true}, "writes of others to the backend are noticed, and seen after 1s at the latest; each empties the cache", 0},
		{wrappers.Below{Shared: true, Info: storage.Info{Caps: storage.CapChanges}}, "writes of others to the backend are followed, and seen after 1s at the latest", 0},
		{wrappers.Below{Shared: true}, "writes of others to the backend are seen after 1m0s at the latest", 1},
	} {
		var d wrappers.Declaration
		c.Declare(one.below, &d)
		if len(d.Changes) != 1 || d.Changes[0].How != one.how || len(d.Warnings) != one.warnings {
			t.Errorf("%+v: %+v", one.below, d)
		}
	}
}
