package ratelimit_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers/ratelimit"
)

// Tenants do not take from each other, nor from keys that have none.
func TestTenants(t *testing.T) {
	l := open(t, func(c *ratelimit.Config) { c.Tenants = map[string]ratelimit.Quota{"big": {Rate: 100, Burst: 500}} })
	for key, want := range map[string]int{"org/a/1": 20, "org/b/1": 20, "none": 20, "org/big/1": 500} {
		if n, _ := l.drain(t, key); n != want {
			t.Errorf("%s: %d, want %d", key, n, want)
		}
	}
	if n, _ := l.drain(t, "org/a/2"); n != 0 {
		t.Errorf("another key of a tenant: %d", n)
	}
}

// A write set in which many tenants take turns passes buckets that are full.
func TestTenantsThatTakeTurns(t *testing.T) {
	l := open(t, nil)
	w := storage.WriteSet{}
	for round := range 30 { // more than the burst
		for tenant := range 40 {
			w.Ops = append(w.Ops, storage.Put(fmt.Appendf(nil, "org/%d/%d", tenant, round), nil))
		}
	}
	if _, err := l.Backend().Apply(t.Context(), &w); err != nil {
		t.Error(err)
	}
	if _, err := l.drain(t, "org/7/k"); err.RetryAfter != 1100*time.Millisecond { // 10 in debt and one more
		t.Errorf("retry after %s", err.RetryAfter)
	}
}

// However long tenants' names are, a bucket does not hold on to them.
func TestLongNames(t *testing.T) {
	l := open(t, nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	key := append(bytes.Repeat([]byte("x"), 1<<16), "....//k"...)
	copy(key, "org/")
	for i := range 200 {
		binary.LittleEndian.PutUint32(key[1<<16:], uint32(i)|0x01010101<<7)
		l.Backend().Get(t.Context(), key)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("200 tenants take %d bytes", grown)
	}
	runtime.KeepAlive(l)
}

// Beyond the bound tenants share, and a loud one leaves most of the others alone.
func TestOverflow(t *testing.T) {
	l := open(t, func(c *ratelimit.Config) { c.MaxTenants = 8; c.Rate = 0.001 })
	for i := range 8 { // these have their own, and are not full
		l.Set(t.Context(), fmt.Appendf(nil, "org/own%d/k", i), nil)
	}
	for range 1000 {
		l.Set(t.Context(), []byte("org/loud/k"), nil)
	}
	disturbed := 0
	for i := range 100 {
		if err := l.Set(t.Context(), fmt.Appendf(nil, "org/quiet%d/k", i), nil); err != nil {
			disturbed++
		}
	}
	if disturbed > 15 {
		t.Errorf("%d of 100 tenants suffer from a loud one", disturbed)
	}
	for i := range 8 {
		if n, _ := l.drain(t, fmt.Sprintf("org/own%d/k", i)); n != 19 {
			t.Errorf("one with a bucket of its own has %d left", n)
		}
	}
}

// Buckets that are full again make room, and give nothing away.
func TestForgetting(t *testing.T) {
	l := open(t, func(c *ratelimit.Config) { c.MaxTenants = 64 })
	for round := range 20 {
		for i := range 64 {
			key := fmt.Sprintf("org/%d-%d/k", round, i)
			if err := l.Set(t.Context(), []byte(key), nil); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		l.clock.Advance(time.Hour)
	}
	n, _ := l.drain(t, "org/one/k")
	for i := range 1000 { // others pass by, and it is not forgotten
		l.Set(t.Context(), fmt.Appendf(nil, "org/other%d/k", i), nil)
	}
	if again, _ := l.drain(t, "org/one/k"); n != 20 || again != 0 {
		t.Errorf("%d, then %d: forgotten while it was empty", n, again)
	}
}

// However few buckets there are, one that is no longer used goes to the tenant
// that comes, wherever it is kept.
func TestForgettingForAnyone(t *testing.T) {
	l := open(t, func(c *ratelimit.Config) { c.MaxTenants = 1 })
	const calls = 20
	for i := range 50 {
		shared := l.metric(t, "plinth.rate_limit.overflow")
		for range calls {
			l.Set(t.Context(), fmt.Appendf(nil, "org/%d/k", i), nil)
		}
		if l.metric(t, "plinth.rate_limit.overflow") == shared+calls {
			t.Errorf("tenant %d still shares a bucket after %d calls, although one is free", i, calls)
		}
		l.clock.Advance(time.Hour)
	}
}

// That tenants share is counted each time, and logged once a minute.
func TestOverflowIsLoggedOnceAMinute(t *testing.T) {
	l := open(t, func(c *ratelimit.Config) { c.MaxTenants = 1; c.Rate, c.Burst = 0.001, 1 })
	l.Set(t.Context(), []byte("org/own/k"), nil)
	for minute := range 3 {
		for i := range 100 {
			l.Set(t.Context(), fmt.Appendf(nil, "org/%d/k", i), nil)
		}
		if n := strings.Count(l.log.String(), "max_tenants=1"); n != minute+1 {
			t.Errorf("minute %d: logged %d times:\n%s", minute, n, l.log)
		}
		l.clock.Advance(time.Minute)
	}
	if n := l.metric(t, "plinth.rate_limit.overflow"); n != 300 {
		t.Errorf("%d calls are counted, want 300", n)
	}
}

// Thousands of new tenants from many sides neither hang nor pass the bound.
func TestManyNewTenants(t *testing.T) {
	l := open(t, func(c *ratelimit.Config) { c.MaxTenants, c.Rate = 100, 0.001 })
	over := make(chan struct{})
	bound := make(chan int64)
	go func() {
		most := int64(0)
		for {
			select {
			case <-over:
				bound <- most
				return
			default:
				most = max(most, l.metric(t, "plinth.rate_limit.tenants"))
			}
		}
	}()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				l.Set(t.Context(), fmt.Appendf(nil, "org/%d-%d/k", g, i), nil)
			}
		})
	}
	wg.Wait()
	close(over)
	if most := <-bound; most > 100+8 || l.metric(t, "plinth.rate_limit.tenants") != 100 { // each of 8 may be about to be refused one
		t.Errorf("%d tenants have buckets of their own, in the end %d, want 100", most, l.metric(t, "plinth.rate_limit.tenants"))
	}
}

// Where there is room for one more, one of those who come together has it.
func TestRoomForOneMore(t *testing.T) {
	for range 2000 {
		l := open(t, func(c *ratelimit.Config) { c.MaxTenants = 1 })
		var wg sync.WaitGroup
		start := make(chan struct{})
		for g := range 4 {
			key := fmt.Appendf(nil, "org/%d/k", g)
			wg.Go(func() {
				<-start
				l.Backend().Get(t.Context(), key)
			})
		}
		close(start)
		wg.Wait()
		if n := l.metric(t, "plinth.rate_limit.tenants"); n > 1 {
			t.Fatalf("%d have", n)
		}
	}
}
