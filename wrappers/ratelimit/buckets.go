package ratelimit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Fixed numbers of buckets.
const (
	shardCount    = 16
	overflowCount = 64
	sweepCount    = 4           // buckets that a call with a new tenant looks at
	unused        = time.Second // for so long, so that no call is about to take from it
)

// buckets holds the buckets of the tenants. No lock of a shard is held while another is
// taken: the number of all is counted by itself.
type buckets struct {
	quota    Quota
	own      map[string]*bucket // of tenants that are configured; never changed
	max      int64
	count    atomic.Int64 // of the buckets in shards
	seeds    [2]maphash.Seed
	shards   [shardCount]shard
	overflow [overflowCount]*bucket
	swept    atomic.Uint32 // shards that were looked into for want of room
}

type shard struct {
	mu      sync.Mutex
	tenants map[name]*bucket
	names   []name // those of tenants, in any order
	hand    int    // where in names the next sweep begins
}

// name stands for a tenant's name, which may be as long as a key.
type name [2]uint64

func newBuckets(c Config) *buckets {
	b := &buckets{quota: Quota{c.Rate, c.Burst}, own: map[string]*bucket{}, max: int64(c.MaxTenants), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	for tenant, q := range c.Tenants {
		b.own[tenant] = newBucket(q)
	}
	for i := range b.shards {
		b.shards[i].tenants = map[name]*bucket{}
	}
	for i := range b.overflow {
		b.overflow[i] = newBucket(b.quota)
	}
	return b
}

// of returns the bucket of a tenant. shared reports whether it has it with others.
func (b *buckets) of(tenant []byte, now time.Time) (_ *bucket, shared bool) {
	if own, ok := b.own[string(tenant)]; ok {
		return own, false
	}
	known := name{maphash.Bytes(b.seeds[0], tenant), maphash.Bytes(b.seeds[1], tenant)}
	if own := b.kept(known, now); own != nil {
		return own, false
	}
	// For the next call: other shards may keep buckets that are not used any more.
	other := &b.shards[b.swept.Add(1)%shardCount]
	other.mu.Lock()
	b.sweep(other, now)
	other.mu.Unlock()
	return b.overflow[known[0]/shardCount%overflowCount], true
}

// kept returns the tenant's own bucket, made where there is room; else nil.
func (b *buckets) kept(tenant name, now time.Time) *bucket {
	s := &b.shards[tenant[0]%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.tenants[tenant]; ok {
		have.seen = now
		return have
	}
	b.sweep(s, now)
	if b.count.Add(1) > b.max { // reserved before it is made
		b.count.Add(-1)
		return nil
	}
	made := newBucket(b.quota)
	made.seen = now
	s.tenants[tenant] = made
	s.names = append(s.names, tenant)
	return made
}

// sweep forgets full, unused buckets among a few, in turns over all of them, so that it takes
// the same time however many buckets there are or have been.
func (b *buckets) sweep(s *shard, now time.Time) {
	for range min(sweepCount, len(s.names)) {
		if s.hand >= len(s.names) {
			s.hand = 0
		}
		known := s.names[s.hand]
		if one := s.tenants[known]; now.Sub(one.seen) < unused || !one.full(now) {
			s.hand++
			continue
		}
		delete(s.tenants, known)
		last := len(s.names) - 1
		s.names[s.hand] = s.names[last]
		s.names = s.names[:last]
		b.count.Add(-1)
	}
}
