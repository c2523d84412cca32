package ratelimit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Fixed numbers of buckets.
const (
	shardCount    = 16
	overflowCount = 64
	sweepCount    = 4 // buckets that a call with a new tenant looks at
)

// buckets are those of the tenants. No lock is held while another is taken: the
// number of all is counted by itself.
type buckets struct {
	quota    Quota
	own      map[string]*bucket // of tenants that are configured; never changed
	max      int64
	count    atomic.Int64 // of the buckets in shards
	seed     maphash.Seed
	shards   [shardCount]shard
	overflow [overflowCount]bucket
}

type shard struct {
	mu      sync.Mutex
	tenants map[string]*bucket
}

// bucket is a limiter that may go into debt.
type bucket struct{ *rate.Limiter }

func newBucket(q Quota) bucket { return bucket{rate.NewLimiter(rate.Limit(q.Rate), q.burst())} }

func newBuckets(c Config) *buckets {
	b := &buckets{quota: Quota{c.Rate, c.Burst}, own: map[string]*bucket{}, max: int64(c.MaxTenants), seed: maphash.MakeSeed()}
	for name, q := range c.Tenants {
		own := newBucket(q)
		b.own[name] = &own
	}
	for i := range b.shards {
		b.shards[i].tenants = map[string]*bucket{}
	}
	for i := range b.overflow {
		b.overflow[i] = newBucket(b.quota)
	}
	return b
}

// of is the bucket of a tenant. shared tells one that it has with others.
func (b *buckets) of(tenant []byte, now time.Time) (_ *bucket, shared bool) {
	if own, ok := b.own[string(tenant)]; ok {
		return own, false
	}
	hash := maphash.Bytes(b.seed, tenant)
	s := &b.shards[hash%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.tenants[string(tenant)]; ok {
		return have, false
	}
	b.sweep(s, now)
	if b.count.Add(1) > b.max { // reserved before it is made
		b.count.Add(-1)
		return &b.overflow[hash/shardCount%overflowCount], true
	}
	made := newBucket(b.quota)
	s.tenants[string(tenant)] = &made
	return &made, false
}

// sweep forgets full buckets among a few, which a map gives in an order that
// differs each time.
func (b *buckets) sweep(s *shard, now time.Time) {
	left := sweepCount
	for name, one := range s.tenants {
		if one.full(now) {
			delete(s.tenants, name)
			b.count.Add(-1)
		}
		if left--; left == 0 {
			return
		}
	}
}

func (b *bucket) full(now time.Time) bool { return b.TokensAt(now) >= float64(b.Burst()) }

// take takes n tokens if the bucket has them. What is more than it can ever hold
// is taken from a full one, as debt. Refused, it tells when to come again.
func (b *bucket) take(now time.Time, n int) (retryAfter time.Duration, ok bool) {
	atOnce := min(n, b.Burst())
	if !b.AllowN(now, atOnce) {
		return b.until(now, atOnce), false
	}
	b.charge(now, n-atOnce)
	return 0, true
}

// until is how long it takes for n tokens to be there.
func (b *bucket) until(now time.Time, n int) time.Duration {
	seconds := (float64(n) - b.TokensAt(now)) / float64(b.Limit())
	return max(time.Millisecond, time.Duration(min(seconds, 1e9)*float64(time.Second)))
}

// charge takes n tokens, whether they are there or not.
func (b *bucket) charge(now time.Time, n int) {
	for burst := b.Burst(); n > 0; n -= burst {
		b.ReserveN(now, min(n, burst))
	}
}
