package durable_test

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/plinthkv/plinth/internal/durable"
	"github.com/plinthkv/plinth/storage"
)

// A digest is on disks: it must not change. It distinguishes write sets that differ in
// anything, an empty end and none included.
func TestDigest(t *testing.T) {
	k := []byte("k")
	sets := []storage.WriteSet{
		{Ops: []storage.Op{storage.Put(k, []byte("v"))}},
		{Ops: []storage.Op{storage.Put([]byte("kv"), nil)}},
		{Ops: []storage.Op{storage.PutUntil(k, []byte("v"), time.UnixMilli(1))}},
		{Ops: []storage.Op{storage.Delete(k)}},
		{Ops: []storage.Op{storage.DeleteRange(k, nil)}},
		{Ops: []storage.Op{storage.DeleteRange(k, []byte{})}},
		{Checks: []storage.Check{storage.Absent(k)}},
		{Checks: []storage.Check{storage.Present(k)}},
		{Checks: []storage.Check{storage.HasVersion(k, 1)}},
		{Checks: []storage.Check{storage.HasValue(k, []byte{})}},
	}
	seen := map[[16]byte]int{}
	for i := range sets {
		d := durable.Digest(&sets[i])
		if other, ok := seen[d]; ok {
			t.Errorf("%d and %d have one digest", other, i)
		}
		seen[d] = i
	}
	first := durable.Digest(&sets[0])
	if got := hex.EncodeToString(first[:]); got != "babfc59217e8124384c508903c51f0f4" {
		t.Errorf("the digest of a put is %s now", got)
	}
}

func TestMillis(t *testing.T) {
	for at, want := range map[time.Time]int64{{}: 0, time.Unix(-5, 0): 1, time.UnixMilli(7).UTC(): 7} {
		if got := durable.Millis(at); got != want {
			t.Errorf("%v is %d", at, got)
		}
	}
	if !durable.Expiry(0).IsZero() || !durable.Expiry(7).Equal(time.UnixMilli(7)) {
		t.Error("an expiry is another time")
	}
}
