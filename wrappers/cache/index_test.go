package cache_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/cache"
)

// The index knows the entries, those that are evicted meanwhile included: one that it
// does not know would outlive the range that deletes it.
func TestIndexKnowsTheEntries(t *testing.T) {
	hub := wrappers.NewHub(memory.New(memory.DefaultConfig(), sdk.Env{}))
	c := cache.DefaultConfig()
	c.MaxBytes = 64 << 10 // some 200 of the 1,000 keys
	b, err := cache.New(hub.Backend(), c, wrappers.Settings{Hub: hub})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	var callers sync.WaitGroup
	for caller := range uint64(4) {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(caller, 1))
			key := func() []byte { return fmt.Appendf(nil, "%03d", r.IntN(1000)) }
			for range 5000 {
				var op storage.Op
				switch r.IntN(40) {
				case 0:
					op = storage.DeleteRange(key(), key())
				case 1:
					op = storage.Put(key(), nil)
				default:
					b.Get(t.Context(), key())
					continue
				}
				if _, err := b.Apply(t.Context(), &storage.WriteSet{Ops: []storage.Op{op}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if b.Stats().Evictions == 0 || b.Stats().Entries == 0 {
		t.Errorf("nothing was evicted, or nothing kept: %+v", b.Stats())
	}
	if n := b.Strays(); n > 0 {
		t.Errorf("index and entries differ in %d keys", n)
	}
}
