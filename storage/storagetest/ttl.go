package storagetest

import (
	"math"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func ttlChecks() []Check {
	checks := in("ttl",
		is("key_expires", 0, func(t *T) {
			t.setTTL("k", "v", 5*time.Second)
			t.wantValue("k", "v")
			t.clock.Advance(10 * time.Second)
			t.wantAbsent("k")
		}),
		is("equality_is_expired", 0, func(t *T) {
			step := t.step()
			t.setTTL("k", "v", 10*step)
			t.clock.Advance(9 * step)
			t.wantValue("k", "v")
			t.clock.Advance(step)
			t.wantAbsent("k")
		}),
		is("zero_is_expired_at_once", 0, func(t *T) {
			t.setTTL("k", "v", 0)
			t.wantAbsent("k")
			t.set("k", "live")
			t.setTTL("k", "v", 0)
			t.wantAbsent("k")
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("new"), storage.IfAbsent())))
			t.wantValue("k", "new")
		}),
		is("expiry_in_the_past_removes", 0, func(t *T) {
			for _, at := range []time.Time{time.UnixMilli(1), time.UnixMilli(-5), time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC), t.clock.Now(), t.clock.Now().Add(-time.Hour)} {
				t.set("k", "live")
				t.apply(storage.PutUntil(bs("k"), bs("v"), at))
				t.wantAbsent("k")
			}
		}),
		is("set_clears_it", 0, func(t *T) {
			t.setTTL("k", "v", 5*time.Second)
			t.set("k", "for ever")
			t.clock.Advance(time.Hour)
			t.wantValue("k", "for ever")
		}),
		is("compare_and_set_clears_it", 0, func(t *T) {
			t.setTTL("k", "v", 5*time.Second)
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("v"), storage.IfValue(bs("v")))))
			t.clock.Advance(time.Hour)
			t.wantValue("k", "v")
		}),
		is("delete_clears_it", 0, func(t *T) {
			t.setTTL("k", "v", 5*time.Second)
			t.del("k")
			t.set("k", "for ever")
			t.clock.Advance(time.Hour)
			t.wantValue("k", "for ever")
		}),
		is("replaced_by_a_longer_and_a_shorter", 0, func(t *T) {
			t.setTTL("long", "v", 5*time.Second)
			t.setTTL("long", "v", time.Minute)
			t.setTTL("short", "v", time.Minute)
			t.setTTL("short", "v", 5*time.Second)
			t.clock.Advance(30 * time.Second)
			t.wantValue("long", "v")
			t.wantAbsent("short")
			t.clock.Advance(30 * time.Second)
			t.wantAbsent("long")
		}),
		is("independent_of_others", 0, func(t *T) {
			t.setTTL("a", "1", 10*time.Second)
			t.setTTL("b", "2", 20*time.Second)
			t.set("c", "3")
			t.clock.Advance(15 * time.Second)
			t.wantAbsent("a")
			t.wantValue("b", "2")
			t.clock.Advance(15 * time.Second)
			t.wantAbsent("b")
			t.wantValue("c", "3")
		}),
		is("expired_keys_are_not_in_ranges", 0, func(t *T) {
			t.set("a", "v")
			t.setTTL("b", "v", 5*time.Second)
			t.set("c", "v")
			t.setTTL("d", "v", 0)
			t.wantKeys(nil, nil, "a", "b", "c")
			t.clock.Advance(5 * time.Second)
			t.wantKeys(nil, nil, "a", "c")
		}),
		is("a_long_run_of_expired_keys", 0, func(t *T) {
			var ops []storage.Op
			until := t.clock.Now().Add(time.Minute)
			for i := range 1500 {
				ops = append(ops, storage.PutUntil([]byte{'k', byte(i >> 8), byte(i)}, bs("v"), until))
			}
			t.each(ops)
			t.setAll("a", "z")
			t.clock.Advance(time.Minute)
			t.wantKeys(nil, nil, "a", "z")
			t.wantKeys(bs("k"), bs("l"))
		}),
		is("reads_do_not_extend_it", 0, func(t *T) {
			t.setTTL("k", "v", 10*time.Second)
			for range 9 {
				t.clock.Advance(time.Second)
				t.wantValue("k", "v")
				t.wantKeys(nil, nil, "k")
			}
			t.clock.Advance(time.Second)
			t.wantAbsent("k")
		}),
		is("never_early_and_less_than_a_step_late", 0, precision),
		is("negative_is_refused", 0, func(t *T) {
			t.set("k", "v")
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.WithTTL(-1))), storage.InvalidArgument)
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfPresent(), storage.WithTTL(math.MinInt64))), storage.InvalidArgument)
			t.wantCode(errOf(t.s.Touch(t.ctx, bs("k"), -time.Second)), storage.InvalidArgument)
			t.wantValue("k", "v")
		}),
		is("far_future", 0, farFuture),
		is("touch", 0, touch),
		is("compare_and_set_with_ttl", 0, func(t *T) {
			t.setTTL("k", "v0", time.Minute)
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("v1"), storage.IfValue(bs("v0")), storage.WithTTL(5*time.Second))))
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("v2"), storage.IfValue(bs("v0")), storage.WithTTL(time.Hour))), storage.Conflict)
			t.wantValue("k", "v1")
			t.clock.Advance(5 * time.Second)
			t.wantAbsent("k")
			t.set("k", "v3")
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("v4"), storage.IfPresent(), storage.WithTTL(0))))
			t.wantAbsent("k")
		}),
		is("expired_value_is_no_match", 0, func(t *T) {
			t.setTTL("k", "stale", 5*time.Second)
			t.clock.Advance(5 * time.Second)
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfValue(bs("stale")))), storage.Conflict)
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfPresent())), storage.Conflict)
			t.wantCode(errOf(t.s.Remove(t.ctx, bs("k"), storage.IfValue(bs("stale")))), storage.Conflict)
			t.must(errOf(t.s.Put(t.ctx, bs("k"), bs("new"), storage.IfAbsent())))
			t.clock.Advance(time.Hour)
			t.wantValue("k", "new")
		}),
		is("failed_compare_and_set_keeps_it", 0, func(t *T) {
			t.setTTL("k", "v", 5*time.Second)
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfValue(bs("other")))), storage.Conflict)
			t.wantCode(errOf(t.s.Put(t.ctx, bs("k"), bs("x"), storage.IfAbsent())), storage.Conflict)
			t.wantValue("k", "v")
			t.clock.Advance(5 * time.Second)
			t.wantAbsent("k")
			t.set("p", "v")
			t.wantCode(errOf(t.s.Put(t.ctx, bs("p"), bs("x"), storage.IfAbsent(), storage.WithTTL(time.Second))), storage.Conflict)
			t.clock.Advance(time.Hour)
			t.wantValue("p", "v")
		}),
		is("expiry_is_answered", storage.CapExpiryOnRead, expiryIsAnswered),
		is("clock_that_goes_back_revives_nothing", 0, clockGoesBack),
	)
	for i := range checks {
		checks[i].Needs |= storage.CapTTL
	}
	return checks
}

// step returns the unit in which the backend keeps expiries.
func (t *T) step() time.Duration { return max(t.info.Limits.TTLPrecision, time.Millisecond) }

// farFuture tries TTLs as long as they get, and longer.
func farFuture(t *T) {
	century := 100 * 365 * 24 * time.Hour
	t.setTTL("century", "v", century)
	t.setTTL("longest", "v", math.MaxInt64)
	for name, at := range map[string]time.Time{
		"last":      time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		"beyond":    time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		"far":       time.Date(200_000, 1, 1, 0, 0, 0, 0, time.UTC),
		"overflows": time.Unix(math.MaxInt64/2, 0),
	} {
		t.apply(storage.PutUntil(bs(name), bs("v"), at))
	}
	all := []string{"beyond", "century", "far", "last", "longest", "overflows"}
	t.wantKeys(nil, nil, all...)
	t.clock.Advance(century - time.Hour)
	t.wantKeys(nil, nil, all...)
	t.clock.Advance(2 * time.Hour)
	t.wantAbsent("century")
	t.wantValue("longest", "v")
	t.wantValue("overflows", "v")
}

func touch(t *T) {
	t.wantCode(errOf(t.s.Touch(t.ctx, bs("k"), time.Hour)), storage.NotFound)
	t.wantAbsent("k")
	t.setTTL("k", "v", 5*time.Second)
	t.must(errOf(t.s.Touch(t.ctx, bs("k"), time.Minute)))
	t.clock.Advance(30 * time.Second)
	t.wantValue("k", "v")
	t.must(errOf(t.s.TouchUntil(t.ctx, bs("k"), time.Time{})))
	t.clock.Advance(time.Hour)
	t.wantValue("k", "v")
	t.must(errOf(t.s.Touch(t.ctx, bs("k"), 5*time.Second)))
	t.clock.Advance(5 * time.Second)
	t.wantCode(errOf(t.s.Touch(t.ctx, bs("k"), time.Hour)), storage.NotFound)
	t.wantAbsent("k")
	t.set("k", "v")
	t.must(errOf(t.s.Touch(t.ctx, bs("k"), 0)))
	t.wantAbsent("k")
}

// expiryIsAnswered has every way to read answer when an item ends: exactly, or
// later by less than the step that the backend names.
func expiryIsAnswered(t *T) {
	t.set("for ever", "v")
	if at := t.item("for ever").ExpiresAt; !at.IsZero() {
		t.Errorf("an item without an expiry expires at %s", at)
	}
	for _, ttl := range []time.Duration{time.Millisecond, 1500 * time.Microsecond, time.Minute, 1000 * time.Hour} {
		t.setTTL("k", "v", ttl)
		want := t.clock.Now().Add(ttl)
		many, err := t.b.GetMany(t.ctx, [][]byte{bs("k")})
		t.must(err)
		scanned := t.scan(storage.Query{Start: bs("k")})
		keys := t.scan(storage.Query{Start: bs("k"), KeysOnly: true})
		if len(many) != 1 || len(scanned.Items) != 1 || len(keys.Items) != 1 {
			t.Fatalf("an item with a TTL of %s is not answered everywhere", ttl)
		}
		for how, it := range map[string]storage.Item{"get": t.item("k"), "get_many": many[0], "scan": scanned.Items[0], "scan of keys": keys.Items[0]} {
			if late := it.ExpiresAt.Sub(want); late < 0 || late >= t.step() {
				t.Errorf("%s, after a TTL of %s: the item expires at %s, want %s", how, ttl, it.ExpiresAt, want)
			}
		}
	}
}

// clockGoesBack has a key be seen expired and then moves the clock to before.
func clockGoesBack(t *T) {
	t.setTTL("k", "v", time.Minute)
	t.setTTL("seen in a scan", "v", time.Minute)
	t.wantValue("k", "v")
	t.wantValue("seen in a scan", "v")
	t.clock.Advance(time.Minute)
	t.wantAbsent("k")
	t.clock.Advance(-time.Hour)
	t.wantAbsent("k", "seen in a scan")
	t.setTTL("short", "v", time.Second)
	t.set("k", "new")
	t.wantValue("k", "new")
	t.clock.Advance(2 * time.Hour)
	t.wantValue("k", "new")
	t.wantAbsent("short")
}
