package ratelimit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/ratelimit"
)

// limited is a store with a limit, over one without.
type limited struct {
	*storage.Store
	below  *storage.Store
	clock  *storagetest.Clock
	reader *sdkmetric.ManualReader
	log    *bytes.Buffer
}

func open(t *testing.T, change func(*ratelimit.Config)) limited {
	t.Helper()
	return openOver(t, change, func(b storage.Backend) storage.Backend { return b })
}

func openOver(t *testing.T, change func(*ratelimit.Config), between func(storage.Backend) storage.Backend) limited {
	t.Helper()
	c := ratelimit.DefaultConfig()
	c.Rate, c.Burst, c.RowsPerToken, c.BytesPerToken = 10, 20, 0, 0
	c.Tenant = tenant.Config{Prefix: "org/", Until: "/"}
	if change != nil {
		change(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	clock, reader, log := storagetest.NewClock(), sdkmetric.NewManualReader(), &bytes.Buffer{}
	m := memory.New(memory.DefaultConfig(), sdk.Env{Now: clock.Now})
	b, err := ratelimit.New(between(m), c, wrappers.Settings{Stage: "rate_limit", Clock: clock.Now,
		Log: slog.New(slog.NewTextHandler(log, nil)), Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(t.Context()) })
	s := storage.Settings{Clock: clock.Now}
	return limited{storage.New(b, s), storage.New(m, s), clock, reader, log}
}

// metric is the sum of all points of a metric.
func (l limited) metric(t *testing.T, name string) (sum int64) {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := l.reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					sum += p.Value
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					sum += p.Value
				}
			}
		}
	}
	return sum
}

// drain makes sets until one is refused, and returns how many were not.
func (l limited) drain(t *testing.T, key string) (n int, err *storage.Error) {
	t.Helper()
	for ; n < 10_000; n++ {
		if e := l.Set(t.Context(), []byte(key), nil); e != nil {
			return n, storage.AsError(e)
		}
	}
	t.Fatal("no limit")
	return 0, nil
}

// A bucket holds its burst, reports when to come again, and fills at its rate.
func TestBucket(t *testing.T) {
	l := open(t, nil)
	n, err := l.drain(t, "org/acme/k")
	if n != 20 || err.Code != storage.RateLimited || err.RetryAfter != 100*time.Millisecond || err.Layer != "rate_limit" || !err.Retryable() {
		t.Fatalf("%d, %v", n, err)
	}
	l.clock.Advance(err.RetryAfter - time.Millisecond)
	if n, _ := l.drain(t, "org/acme/k"); n != 0 {
		t.Errorf("%d before the time", n)
	}
	l.clock.Advance(time.Millisecond)
	if n, _ := l.drain(t, "org/acme/k"); n != 1 {
		t.Errorf("%d at the time", n)
	}
	l.clock.Advance(time.Hour)
	if n, _ := l.drain(t, "org/acme/k"); n != 20 {
		t.Errorf("%d after a long time", n)
	}
}

// Everything costs: ops, checks, rows and bytes, in transactions and ranges too.
func TestCosts(t *testing.T) {
	small, large := []byte("v"), make([]byte, 5000)
	for _, c := range []struct {
		name string
		call func(l limited) error
		cost int
	}{
		{"get", func(l limited) error { _, err := l.Get(t.Context(), []byte("org/a/small")); return err }, 1},
		{"get of a large value", func(l limited) error { _, err := l.Get(t.Context(), []byte("org/a/large")); return err }, 1 + 5},
		{"get_many", func(l limited) error {
			_, err := l.GetMany(t.Context(), [][]byte{[]byte("org/a/small"), []byte("org/a/large"), []byte("org/a/absent")})
			return err
		}, 3 + 5},
		{"set", func(l limited) error { return l.Set(t.Context(), []byte("org/a/k"), small) }, 1},
		{"set of a large value", func(l limited) error { return l.Set(t.Context(), []byte("org/a/k"), large) }, 1 + 5},
		{"compare and set", func(l limited) error {
			return errOf(l.Put(t.Context(), []byte("org/a/k"), small, storage.IfAbsent()))
		}, 2},
		{"compare and delete of a large value", func(l limited) error {
			return errOf(l.Remove(t.Context(), []byte("org/a/large"), storage.IfValue(large)))
		}, 2 + 5},
		{"a transaction", func(l limited) error {
			return errOf(l.UpdateIn(t.Context(), storage.ReadCommitted, func(tx *storage.Txn) error {
				return errors.Join(tx.Set(t.Context(), []byte("org/a/1"), small), tx.Set(t.Context(), []byte("org/a/2"), large), tx.Delete(t.Context(), []byte("org/a/3")))
			}))
		}, 3 + 5},
		{"a range of the tenant", func(l limited) error {
			for _, err := range l.Prefix(t.Context(), []byte("org/a/"), storage.RangeOptions{}) {
				if err != nil {
					return err
				}
			}
			return nil
		}, 1 + 10 + 5},
		{"clear of the tenant", func(l limited) error {
			return errOf(l.ClearRange(t.Context(), []byte("org/a/"), storage.PrefixEnd([]byte("org/a/"))))
		}, 1},
		{"a range over tenants", func(l limited) error {
			for _, err := range l.Prefix(t.Context(), []byte("org/"), storage.RangeOptions{}) {
				if err != nil {
					return err
				}
			}
			return nil
		}, 0},
		{"health", func(l limited) error { _, err := l.Health(t.Context(), storage.Readiness); return err }, 0},
	} {
		l := open(t, func(c *ratelimit.Config) { c.RowsPerToken, c.BytesPerToken = 2, 1000; c.Burst = 100 })
		l.below.Set(t.Context(), []byte("org/a/small"), small)
		l.below.Set(t.Context(), []byte("org/a/large"), large)
		for i := range 18 {
			l.below.Set(t.Context(), fmt.Appendf(nil, "org/a/row%d", i), nil)
		}
		if err := c.call(l); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if n, _ := l.drain(t, "org/a/after"); 100-n != c.cost {
			t.Errorf("%s costs %d, want %d", c.name, 100-n, c.cost)
		}
	}
}

// A write set of several tenants is paid by each, or by none.
func TestAllPayOrNone(t *testing.T) {
	l := open(t, nil)
	l.drain(t, "org/poor/k")
	both := func() error {
		return errOf(l.UpdateIn(t.Context(), storage.ReadCommitted, func(tx *storage.Txn) error {
			return errors.Join(tx.Set(t.Context(), []byte("org/rich/k"), []byte("v")), tx.Set(t.Context(), []byte("org/poor/x"), nil))
		}))
	}
	for range 50 {
		if err := both(); !errors.Is(err, storage.ErrRateLimited) || storage.AsError(err).RetryAfter != 100*time.Millisecond {
			t.Fatal(err)
		}
	}
	if n, _ := l.drain(t, "org/rich/x"); n != 20 {
		t.Errorf("the other tenant has %d left: it paid for what was refused", n)
	}
	if _, err := l.below.Get(t.Context(), []byte("org/rich/k")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what was refused was done: %v", err)
	}
}

// What is larger than a bucket goes through a full one, and is paid off.
func TestDebt(t *testing.T) {
	l := open(t, nil)
	bulk := func() error {
		return errOf(l.UpdateIn(t.Context(), storage.ReadCommitted, func(tx *storage.Txn) error {
			for i := range 50 {
				if err := tx.Set(t.Context(), fmt.Appendf(nil, "org/a/%d", i), nil); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	if err := bulk(); err != nil {
		t.Fatal(err)
	}
	_, err := l.drain(t, "org/a/k")
	if want := 3100 * time.Millisecond; err.RetryAfter != want { // 30 in debt and one more, at 10 a second
		t.Errorf("retry after %s, want %s", err.RetryAfter, want)
	}
	l.clock.Advance(4 * time.Second)
	if err := bulk(); !errors.Is(err, storage.ErrRateLimited) {
		t.Errorf("a bucket that is not full lets it through: %v", err)
	}
}

// during does something while each get is under way.
type during struct {
	storage.Backend
	do func()
}

func (d *during) Get(ctx context.Context, key []byte) (storage.Item, error) {
	d.do()
	return d.Backend.Get(ctx, key)
}

// A slow call that is paid when it ends does not let the time since its begin
// count twice, whatever others have taken meanwhile.
func TestLateCharges(t *testing.T) {
	n := 0
	d := &during{}
	l := openOver(t, func(c *ratelimit.Config) { c.BytesPerToken = 1 }, func(m storage.Backend) storage.Backend {
		d.Backend = m
		return d
	})
	drain := func() {
		more, _ := l.drain(t, "org/a/x")
		n += more
	}
	d.do = func() {
		l.clock.Advance(time.Second)
		drain()
	}
	l.below.Set(t.Context(), []byte("org/a/k"), []byte("v"))
	drain()
	for range 100 {
		l.clock.Advance(time.Second)
		if _, err := l.Get(t.Context(), []byte("org/a/k")); err != nil {
			t.Fatal(err)
		}
		drain()
	}
	if n > 20+200*10 {
		t.Errorf("%d in 200 s, at 10 a second", n)
	}
}

// A clock that is set back stops no caller for longer than that.
func TestClockSetBack(t *testing.T) {
	l := open(t, nil)
	l.clock.Advance(time.Hour)
	l.drain(t, "org/a/k")
	l.clock.Advance(-time.Hour)
	l.drain(t, "org/a/k")
	l.clock.Advance(time.Second)
	if n, _ := l.drain(t, "org/a/k"); n != 10 {
		t.Errorf("%d a second later", n)
	}
}

// What costs far more than a bucket holds is all paid off.
func TestHugeCosts(t *testing.T) {
	l := open(t, func(c *ratelimit.Config) { c.Rate, c.Burst, c.BytesPerToken = 1, 1, 1 })
	if err := l.Set(t.Context(), []byte("org/a/k"), make([]byte, 7<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.drain(t, "org/a/k"); err.RetryAfter < 7<<20*time.Second {
		t.Errorf("retry after %s", err.RetryAfter)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		change func(*ratelimit.Config)
		want   string
	}{
		{func(c *ratelimit.Config) { c.Rate = 0 }, "rate: must be above 0"},
		{func(c *ratelimit.Config) { c.Burst = -1 }, "burst: cannot be negative"},
		{func(c *ratelimit.Config) { c.RowsPerToken = -1 }, "rows_per_token"},
		{func(c *ratelimit.Config) { c.BytesPerToken = -1 }, "bytes_per_token"},
		{func(c *ratelimit.Config) { c.MaxTenants = -1 }, "max_tenants"},
		{func(c *ratelimit.Config) { c.Tenants = map[string]ratelimit.Quota{"a": {Rate: -1}} }, "tenants.a.rate"},
		{func(c *ratelimit.Config) { c.Tenants = map[string]ratelimit.Quota{"a": {Rate: 1}} }, "tenants: requires tenant"},
	} {
		config := ratelimit.DefaultConfig()
		config.Rate = 1
		c.change(&config)
		if err := config.Validate(); !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// A call of a tenant that is known allocates nothing here.
func TestAllocations(t *testing.T) {
	l := open(t, func(c *ratelimit.Config) { c.Rate = 1e9 })
	ctx, key := t.Context(), []byte("org/acme/absent")
	b := l.Backend()
	b.Get(ctx, key)
	if n := testing.AllocsPerRun(1000, func() { b.Get(ctx, key) }); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}

func BenchmarkGet(b *testing.B) {
	c := ratelimit.DefaultConfig()
	c.Rate, c.Burst, c.Tenant = 1e9, 1e9, tenant.Config{Prefix: "org/", Until: "/"}
	m := memory.New(memory.DefaultConfig(), sdk.Env{})
	l, err := ratelimit.New(m, c, wrappers.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	key := []byte("org/acme/absent")
	for name, next := range map[string]storage.Backend{"bare": m, "limited": l} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				next.Get(b.Context(), key)
			}
		})
	}
}

// errOf drops the version of a write.
func errOf(_ uint64, err error) error { return err }
