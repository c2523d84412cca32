package storage_test

import (
	"math"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

func TestExpiryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6_700_000, time.UTC) // 6.7 ms
	ms := now.Truncate(time.Millisecond)
	for _, c := range []struct {
		ttl  time.Duration
		want time.Time
	}{
		{0, ms},                             // not after now
		{1, ms.Add(time.Millisecond)},       // rounded up
		{300_000, ms.Add(time.Millisecond)}, // exactly
		{300_001, ms.Add(2 * time.Millisecond)},
		{time.Hour, ms.Add(time.Hour + time.Millisecond)},
		{math.MaxInt64, now.Add(math.MaxInt64).Truncate(time.Millisecond).Add(time.Millisecond)},
	} {
		got, err := storage.ExpiryAfter(now, c.ttl)
		if err != nil || !got.Equal(c.want) {
			t.Errorf("%s from now is %s, %v, want %s", c.ttl, got, err, c.want)
		}
		if expired := storage.Expired(got, now); expired != (c.ttl == 0) {
			t.Errorf("an item with a TTL of %s is expired at once: %t", c.ttl, expired)
		}
	}
	for _, ttl := range []time.Duration{-1, -time.Hour, math.MinInt64} {
		if _, err := storage.ExpiryAfter(now, ttl); storage.CodeOf(err) != storage.InvalidArgument {
			t.Errorf("a TTL of %s: %v", ttl, err)
		}
	}
	late := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) // TTLs saturate, and never wrap
	if got, err := storage.ExpiryAfter(late, math.MaxInt64); err != nil || !got.IsZero() {
		t.Errorf("the longest TTL in the year 9999 ends at %s, %v", got, err)
	}
}

func TestClampExpiry(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.FixedZone("x", 3600))
	last := time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC)
	for _, c := range []struct{ at, want time.Time }{
		{time.Time{}, time.Time{}},
		{at, at},
		{at.Add(1), at.Add(time.Millisecond)},
		{last, last},
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}},
		{time.Unix(math.MaxInt64/2, 0), time.Time{}},
		{time.UnixMilli(-7), time.UnixMilli(-7)},
	} {
		if got := storage.ClampExpiry(c.at); !got.Equal(c.want) {
			t.Errorf("%s becomes %s, want %s", c.at, got, c.want)
		}
	}
	if got := storage.ClampExpiry(last.Add(1)); !got.IsZero() && got.Year() > 9999 {
		t.Errorf("the last millisecond of 9999 is rounded up to %s", got)
	}
}

func TestExpired(t *testing.T) {
	now := time.UnixMilli(1000)
	for _, c := range []struct {
		at   time.Time
		want bool
	}{{time.Time{}, false}, {now, true}, {now.Add(1), false}, {now.Add(-1), true}} {
		if got := storage.Expired(c.at, now); got != c.want {
			t.Errorf("%s is expired at %s: %t", c.at, now, got)
		}
	}
}
