//go:build unix

package etcd

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
)

// setUntil puts a key that expires after a while by a clock.
func setUntil(b storage.Backend, key string, at time.Time) error {
	_, err := b.Apply(context.Background(), &storage.WriteSet{Ops: []storage.Op{storage.PutUntil([]byte(key), []byte("v"), at)}})
	return err
}

// Keys whose deadlines are near each other share a lease, which lasts longer than any of
// them lives: leases are few, however many keys expire.
func TestLeasesAreShared(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, "lease/")
	now := time.Now()
	for i := range 500 {
		if err := setUntil(b, fmt.Sprint(i), now.Add(time.Duration(1+i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := b.client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(all.Leases); n < 5 || n > 80 {
		t.Errorf("500 keys have %d leases", n)
	}
	answer, err := b.client.Get(t.Context(), "lease/:d", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	left := map[int64]time.Duration{}
	for _, kv := range answer.Kvs {
		r, err := read(kv.Value)
		if err != nil || kv.Lease == 0 {
			t.Fatalf("%s has the lease %d, %v", kv.Key, kv.Lease, err)
		}
		if _, ok := left[kv.Lease]; !ok {
			ttl, err := b.client.TimeToLive(t.Context(), clientv3.LeaseID(kv.Lease))
			if err != nil {
				t.Fatal(err)
			}
			left[kv.Lease] = time.Duration(ttl.TTL) * time.Second
		}
		life := time.Until(r.expiry())
		if least := life + life/8; left[kv.Lease] < least || left[kv.Lease] > 2*life+2*time.Minute {
			t.Errorf("%s lives for %v, and its lease for %v", kv.Key, life, left[kv.Lease])
		}
	}
	if err := set(b, "0", "for good"); err != nil {
		t.Fatal(err)
	}
	if kv, err := b.client.Get(t.Context(), "lease/:d0"); err != nil || kv.Kvs[0].Lease != 0 {
		t.Errorf("what does not expire has a lease: %v", err)
	}
}

// A lease that is gone is no error of a write: another is granted.
func TestLeaseGone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, "gone/")
	at := time.Now().Add(time.Hour)
	if err := setUntil(b, "a", at); err != nil {
		t.Fatal(err)
	}
	all, err := b.client.Leases(t.Context())
	if err != nil || len(all.Leases) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	if _, err := b.client.Revoke(t.Context(), all.Leases[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := setUntil(b, "b", at); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Apply(t.Context(), &storage.WriteSet{ID: [16]byte{1}, Ops: []storage.Op{storage.PutUntil([]byte("c"), nil, at)}}); err != nil {
		t.Fatal(err)
	}
}

// A lease is not used any more when less of it is left than a key lives, whatever has
// become of the clock, and not for too many keys.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.open(t, "out/")
	first, err := b.leases.until(t.Context(), 3_600_000, 0)
	if err != nil {
		t.Fatal(err)
	}
	same, err := b.leases.until(t.Context(), 3_600_000, 0)
	if err != nil || same != first {
		t.Fatalf("%v, %v", same, err)
	}
	if other, err := b.leases.until(t.Context(), 3_600_000+3_600_000, 3_600_000); err != nil || other == first {
		t.Errorf("another hour has the same lease: %v", err)
	}
	b.leases.mu.Lock()
	first.at = first.at.Add(-30 * time.Minute) // as after some time
	b.leases.mu.Unlock()
	next, err := b.leases.until(t.Context(), 3_600_000, 0) // the clock was set back
	if err != nil || next == first {
		t.Errorf("a lease that ends too early: %v", err)
	}
	b.leases.mu.Lock()
	next.keys = leaseKeys
	b.leases.mu.Unlock()
	if full, err := b.leases.until(t.Context(), 3_600_000, 0); err != nil || full == next {
		t.Errorf("a lease with too many keys: %v", err)
	}
	for i := range int64(5000) {
		b.leases.mu.Lock()
		b.leases.makeRoom()
		b.leases.known[span{1, i}] = next
		n := len(b.leases.known)
		b.leases.mu.Unlock()
		if n > mostLeases {
			t.Fatalf("%d leases are known", n)
		}
	}
}

// What has expired is absent for every check, before the cluster has collected it, and
// a check on an expired key is no conflict.
func TestExpiredIsAbsent(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	clock := storagetest.NewClock()
	o, err := Open(t.Context(), c.env("exp/", clock.Now))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close(context.Background())
	b := o.(*Backend)
	for i := range 300 {
		if err := setUntil(b, fmt.Sprintf("k%03d", i), clock.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	clock.Advance(time.Minute)
	raw, err := b.client.Get(t.Context(), "exp/:d", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || raw.Count != 300 {
		t.Fatalf("%d keys are there, %v", raw.Count, err)
	}
	apply := func(checks ...storage.Check) error {
		_, err := b.Apply(t.Context(), &storage.WriteSet{Checks: checks, Ops: []storage.Op{storage.Put([]byte("x"), nil)}})
		return err
	}
	many := []storage.Check{storage.NoneNewer(nil, []byte("l"), 1)}
	for i := range 100 {
		many = append(many, storage.Absent(fmt.Appendf(nil, "k%03d", i)))
	}
	for name, checks := range map[string][]storage.Check{
		"a key": {storage.Absent([]byte("k000"))}, "a range": {storage.NoneNewer([]byte("a"), []byte("l"), 1)}, "many": many,
	} {
		if err := apply(checks...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, check := range map[string]storage.Check{
		"present": storage.Present([]byte("k000")), "value": storage.HasValue([]byte("k000"), []byte("v")), "version": storage.HasVersion([]byte("k000"), uint64(raw.Header.Revision-299)),
	} {
		if err := apply(check); storage.CodeOf(err) != storage.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One of a range is live.
	if err := set(b, "k150x", "v"); err != nil {
		t.Fatal(err)
	}
	err = apply(many...)
	if e := storage.AsError(err); e == nil || e.Code != storage.Conflict || e.FailedCheck() != 0 {
		t.Errorf("a live item in the range: %v", err)
	}
	// A clock that goes back has nothing live again.
	clock.Advance(-time.Hour)
	if _, err := b.Get(t.Context(), []byte("k001")); storage.CodeOf(err) != storage.NotFound {
		t.Errorf("an hour earlier: %v", err)
	}
	if _, err := b.Get(t.Context(), []byte(strings.Repeat("k", 100_000))); storage.CodeOf(err) != storage.NotFound {
		t.Errorf("a key that cannot be: %v", err)
	}
}
