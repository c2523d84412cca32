package otel_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/otel"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

func byTenant(most int) otel.Config {
	c := otel.DefaultConfig()
	c.Tenant = otel.Tenant{Config: tenant.Config{Prefix: "org/", Until: "/"}, Max: most}
	return c
}

// perTenant are the counts of calls by operation and tenant.
func (tel *telemetry) perTenant(t *testing.T) map[string]uint64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := tel.reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					a := attributes(p.Attributes.ToSlice())
					counts[strings.TrimSpace(a["db.operation.name"]+" "+a["plinth.tenant"])] += p.Count
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					counts["ttl "+attributes(p.Attributes.ToSlice())["plinth.tenant"]] += uint64(p.Value)
				}
			}
		}
	}
	return counts
}

// Every kind of call counts for the tenant of its keys; one of several tenants
// for none of them, and one without a tenant for nobody.
func TestTenants(t *testing.T) {
	tel := instrumented(t, newMemory(), byTenant(10))
	ctx, s := context.Background(), tel.store
	k := func(s string) []byte { return []byte(s) }
	s.Get(ctx, k("org/a/1"))
	s.Get(ctx, k("org/a/2"))
	s.Get(ctx, k("org/b/1"))
	s.Get(ctx, k("org/b")) // not a tenant yet
	s.Get(ctx, k("elsewhere"))
	s.Get(ctx, k(""))
	s.GetMany(ctx, [][]byte{k("org/a/1"), k("org/a/2")})
	s.GetMany(ctx, [][]byte{k("org/a/1"), k("org/b/2")})
	s.GetMany(ctx, [][]byte{k("org/a/1"), k("elsewhere")})
	s.Put(ctx, k("org/a/1"), k("v"), storage.WithTTL(1e9))
	s.Put(ctx, k("org/b/1"), k("v"), storage.IfAbsent())
	s.Update(ctx, func(tx *storage.Txn) error {
		tx.Set(ctx, k("org/a/1"), k("v"))
		return tx.Set(ctx, k("org/b/1"), k("v"))
	})
	for range s.Prefix(ctx, k("org/a/"), storage.RangeOptions{}) {
	}
	for range s.Prefix(ctx, k("org/"), storage.RangeOptions{}) {
	}
	for range s.Prefix(ctx, nil, storage.RangeOptions{}) {
	}
	for range s.Prefix(ctx, k("p"), storage.RangeOptions{}) {
	}
	s.ClearRange(ctx, k("org/b/1"), k("org/b/2"))
	want := map[string]uint64{"get a": 2, "get b": 1, "get": 3, "get_many a": 1, "get_many _many": 2, "set a": 1, "compare_and_set b": 1,
		"commit _many": 1, "scan a": 1, "scan _many": 2, "scan": 1, "clear_range b": 1, "ttl a": 1}
	if got := tel.perTenant(t); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

// The first tenants have labels, all others one together, and so have names that
// are no labels.
func TestTenantsAreCapped(t *testing.T) {
	tel := instrumented(t, newMemory(), byTenant(3))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 100 {
				tel.store.Get(context.Background(), fmt.Appendf(nil, "org/%d/k", i))
			}
		})
	}
	all.Wait()
	var labelled, calls uint64
	got := tel.perTenant(t)
	for name, n := range got {
		if name != "get _other" {
			labelled++
		}
		calls += n
	}
	if labelled != 3 || calls != 400 || got["get _other"] != 4*97 {
		t.Errorf("%v", got)
	}
	for _, name := range []string{"\xff", strings.Repeat("x", 65), "_other"} {
		tel.store.Get(context.Background(), []byte("org/"+name+"/k"))
	}
	if got := tel.perTenant(t); got["get _other"] != 4*97+3 {
		t.Errorf("%v", got)
	}
	none := instrumented(t, newMemory(), byTenant(0))
	none.store.Get(context.Background(), []byte("org/a/k"))
	if got := none.perTenant(t); got["get _other"] != 1 {
		t.Errorf("none at all: %v", got)
	}
}

// The tenant of a span is its label.
func TestTenantOfASpan(t *testing.T) {
	tel := instrumented(t, newMemory(), byTenant(1))
	ctx, parent := tel.tracer.Tracer("test").Start(context.Background(), "caller")
	for _, key := range []string{"org/a/k", "org/b/k", "k"} {
		tel.store.Get(ctx, []byte(key))
	}
	parent.End()
	for i, want := range []string{"a", "_other", ""} {
		if got := attributes(tel.spans.Ended()[i].Attributes())["plinth.tenant"]; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A tenant that has been seen costs no allocation, sampled or not by those above.
func TestTenantsDoNotAllocate(t *testing.T) {
	b, err := otel.New(newMemory(), byTenant(10), wrappers.Settings{Tracer: sdktrace.NewTracerProvider(),
		Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))})
	if err != nil {
		t.Fatal(err)
	}
	unsampled, _ := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("").Start(context.Background(), "caller")
	absent := []byte("org/a/absent")
	for name, ctx := range map[string]context.Context{"no trace": context.Background(), "not sampled": unsampled} {
		if n := testing.AllocsPerRun(1000, func() { b.Get(ctx, absent) }); n != 0 {
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}

func TestConfig(t *testing.T) {
	for most, well := range map[int]bool{0: true, 100: true, 10_000: true, -1: false, 10_001: false} {
		if err := byTenant(most).Validate(); (err == nil) != well {
			t.Errorf("max %d: %v", most, err)
		}
	}
}
