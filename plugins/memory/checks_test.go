package memory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
)

// The walk over many range checks answers what each alone would, also where ranges
// overlap, touch, are empty, begin at the empty key or have no end.
func TestFirstFailedIsTheFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	bound := func() []byte {
		if r.IntN(8) == 0 {
			return nil
		}
		return fmt.Appendf(nil, "%02d", r.IntN(40))
	}
	failures := 0
	for range 300 {
		b := New(DefaultConfig(), sdk.Env{})
		for range r.IntN(30) {
			op := storage.Put(fmt.Appendf(nil, "%02d", r.IntN(40)), nil)
			if r.IntN(4) == 0 {
				op = storage.Delete(op.Key)
			}
			if _, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{op}}); err != nil {
				t.Fatal(err)
			}
		}
		now := b.now()
		var checks []storage.Check
		want := -1
		for i := range 1 + r.IntN(8) {
			c := storage.Check{Kind: storage.CheckRange, Key: bound(), End: bound(), Version: b.version - min(b.version, uint64(r.IntN(4)))}
			holds := newest(b, &c) <= c.Version
			if r.IntN(4) == 0 {
				c = storage.Absent(fmt.Appendf(nil, "%02d", r.IntN(40)))
				holds = b.live(c.Key, now) == 0
			}
			if checks = append(checks, c); !holds && want < 0 {
				want = i
			}
		}
		if got := b.firstFailed(checks, now); got != want {
			t.Fatalf("check %d failed, want %d of %v", got, want, checks)
		}
		if want >= 0 {
			failures++
		}
	}
	if failures < 50 || failures > 250 {
		t.Errorf("%d of 300 write sets had a check that fails: too few of one kind", failures)
	}
}

// newest is the highest version in a check's range, by looking at each item.
func newest(b *Backend, c *storage.Check) (version uint64) {
	if storage.EmptyRange(c.Key, c.End) {
		return 0
	}
	b.ascend(keyTarget(c.Key, 0), c.End, func(_ ref, it item) bool {
		version = max(version, b.base+it.version())
		return true
	})
	return version
}
