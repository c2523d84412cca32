package storage_test

import (
	"slices"
	"testing"
	"time"

	"github.com/plinthkv/plinth/storage"
)

// Bits and names are on the wire and in configurations: neither may ever change.
func TestCapNames(t *testing.T) {
	want := []string{"versions", "ttl", "expiry_on_read", "atomic", "check_only", "range_check", "ordered", "reverse",
		"snapshot_scan", "snapshot_get", "durable", "idempotent", "stateless", "changes", "change_notice"}
	if got := storage.CapNames(); !slices.Equal(got, want) {
		t.Fatalf("CapNames() = %q", got)
	}
	for i, name := range want {
		c, ok := storage.ParseCap(name)
		if !ok || c != 1<<i || c.String() != name {
			t.Errorf("ParseCap(%q) = %d %s, %t", name, c, c, ok)
		}
	}
	for _, name := range []string{"", "TTL", "ttl ", "versions,ttl"} {
		if c, ok := storage.ParseCap(name); ok {
			t.Errorf("ParseCap(%q) = %s", name, c)
		}
	}
	if got := storage.Caps(0).String(); got != "" {
		t.Errorf("no capabilities are %q", got)
	}
	newer := storage.CapTTL | storage.CapAtomic | 1<<15 | 1<<40
	if got := newer.String(); got != "ttl,atomic" {
		t.Errorf("with bits that are not known: %q", got)
	}
	if !newer.Has(storage.CapTTL|storage.CapAtomic) || newer.Has(storage.CapTTL|storage.CapDurable) || !newer.Has(0) {
		t.Error("Has does not ask for all")
	}
	names := storage.CapNames()
	if names[0] = "mine"; storage.CapNames()[0] == "mine" {
		t.Error("CapNames answers its own slice")
	}
}

func TestTighten(t *testing.T) {
	a := storage.Limits{Key: 10, Value: 0, Ops: 5, WriteBytes: 100, GetKeys: 7, TTLPrecision: time.Second, IDWindow: time.Hour, IDCount: 9}
	b := storage.Limits{Key: 20, Value: 3, Ops: 4, WriteBytes: 0, GetKeys: 0, TTLPrecision: time.Millisecond, IDWindow: time.Minute, IDCount: 0}
	want := storage.Limits{Key: 10, Value: 3, Ops: 4, WriteBytes: 100, GetKeys: 7, TTLPrecision: time.Second, IDWindow: time.Minute, IDCount: 9}
	if got := a.Tighten(b); got != want {
		t.Errorf("%+v", got)
	}
	if got := b.Tighten(a); got != want {
		t.Errorf("the other way round %+v", got)
	}
	if got := (storage.Limits{}).Tighten(a); got != a {
		t.Errorf("no limits, tightened: %+v", got)
	}
}

func TestLimitsCheck(t *testing.T) {
	l := storage.Limits{Key: 3, Value: 4, GetKeys: 5}
	for _, c := range []struct {
		kind   string
		most   int
		err    func(n int, l storage.Limits) error
		within storage.Limits
	}{
		{"key", 3, func(n int, l storage.Limits) error { return l.CheckKey(make([]byte, n)) }, l},
		{"value", 4, func(n int, l storage.Limits) error { return l.CheckValue(make([]byte, n)) }, l},
		{"keys", 5, func(n int, l storage.Limits) error { return l.CheckGetKeys(n) }, l},
	} {
		if err := c.err(c.most, l); err != nil {
			t.Errorf("%s: exactly the limit: %v", c.kind, err)
		}
		e := storage.AsError(c.err(c.most+1, l))
		if e == nil || e.Code != storage.SizeLimit || e.Limit != (storage.Limit{Kind: c.kind, Max: int64(c.most), Actual: int64(c.most + 1)}) {
			t.Errorf("%s: one more: %+v", c.kind, e)
		}
		if err := c.err(1<<20, storage.Limits{}); err != nil {
			t.Errorf("%s: without a limit: %v", c.kind, err)
		}
	}
}
