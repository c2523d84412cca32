package cache_test

import (
	"errors"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/cache"
)

// Below is a backend that does not report when items expire. An item may be kept
// only while it is certain that it does not: here it does, and is gone a minute
// later, however its last writes met.
func TestOnlyWhatIsKnownToStayIsKept(t *testing.T) {
	minute := func(clock *storagetest.Clock) storage.Op {
		return storage.PutUntil(key, nil, clock.Now().Add(time.Minute))
	}
	for _, c := range []struct {
		name  string
		write func(t *testing.T, b storage.Backend, below *storagetest.Faults, clock *storagetest.Clock)
	}{
		{"put without an expiry, then for a minute", func(t *testing.T, b storage.Backend, _ *storagetest.Faults, clock *storagetest.Clock) {
			put(t, b, storage.Put(key, nil))
			put(t, b, minute(clock))
		}},
		{"both in one write set", func(t *testing.T, b storage.Backend, _ *storagetest.Faults, clock *storagetest.Clock) {
			put(t, b, storage.Put(key, nil), minute(clock))
		}},
		{"at once, and the first is heard of last", func(t *testing.T, b storage.Backend, below *storagetest.Faults, clock *storagetest.Clock) {
			hold, first := make(chan struct{}), make(chan struct{})
			below.Set(storagetest.Fault{Calls: []storagetest.Call{storagetest.CallApply}, Times: 1, Late: true, Hold: hold})
			go func() { defer close(first); put(t, b, storage.Put(key, nil)) }()
			for { // until it is applied, and has not returned yet
				if _, err := below.Get(ctx, key); err == nil {
					break
				}
			}
			put(t, b, minute(clock))
			close(hold)
			<-first
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := storagetest.NewClock()
			info := storagetest.ModelInfo()
			info.Caps &^= storage.CapExpiryOnRead
			below := storagetest.NewFaults(storagetest.NewModel(clock.Now, info))
			hub := wrappers.NewHub(below)
			b, err := cache.New(hub.Backend(), cache.Config{MaxBytes: 1 << 20, TTL: time.Hour}, wrappers.Settings{Clock: clock.Now, Hub: hub})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close(ctx)
			c.write(t, b, below, clock)
			if _, err := b.Get(ctx, key); err != nil {
				t.Fatalf("Get: %v", err)
			}
			clock.Advance(time.Minute)
			if _, err := b.Get(ctx, key); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("Get of an expired item: %v", err)
			}
		})
	}
}

func put(t *testing.T, b storage.Backend, ops ...storage.Op) {
	t.Helper()
	if _, err := b.Apply(ctx, &storage.WriteSet{Ops: ops}); err != nil {
		t.Errorf("Apply: %v", err)
	}
}
