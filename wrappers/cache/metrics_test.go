package cache_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/cache"
)

// measured are the values of all metrics, by name and result.
func measured(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	add := func(name string, points []metricdata.DataPoint[int64]) {
		for _, p := range points {
			result, _ := p.Attributes.Value("plinth.cache.result")
			store, _ := p.Attributes.Value("db.namespace")
			stage, _ := p.Attributes.Value("plinth.stage")
			if store.AsString() != "cities" || stage.AsString() != "hot" {
				t.Errorf("%s: %v", name, p.Attributes.ToSlice())
			}
			out[strings.TrimSpace(name+" "+result.AsString())] += p.Value
		}
	}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				add(m.Name, data.DataPoints)
			case metricdata.Gauge[int64]:
				add(m.Name, data.DataPoints)
			}
		}
	}
	return out
}

// Hits, misses and evictions are counted, and what is kept; a cache that is
// closed is not asked any more.
func TestMetrics(t *testing.T) {
	ctx, reader := context.Background(), sdkmetric.NewManualReader()
	hub := wrappers.NewHub(memory.New(memory.DefaultConfig(), sdk.Env{}))
	c := cache.DefaultConfig()
	c.MaxBytes = 64 << 10
	b, err := cache.New(hub.Backend(), c, wrappers.Settings{Store: "cities", Stage: "hot", Hub: hub,
		Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	s := storage.New(b, storage.Settings{})
	key := func(i int) []byte { return fmt.Appendf(nil, "key-%d", i) }
	for i := range 100 {
		if err := s.Set(ctx, key(i), make([]byte, 2<<10)); err != nil {
			t.Fatal(err)
		}
	}
	s.Get(ctx, key(1))
	s.Get(ctx, key(1))
	s.Get(ctx, key(1))
	b.Settle()
	got := measured(t, reader)
	if got["plinth.cache.lookups hit"] != 2 || got["plinth.cache.lookups miss"] != 1 || got["plinth.cache.entries"] != 1 ||
		got["plinth.cache.size"] < 2<<10 || got["plinth.cache.evictions"] != 0 {
		t.Errorf("%v", got)
	}
	for i := range 100 {
		s.Get(ctx, key(i))
	}
	b.Settle()
	if got = measured(t, reader); got["plinth.cache.evictions"] < 60 || got["plinth.cache.size"] > 64<<10 {
		t.Errorf("more than there is room for: %v", got)
	}
	if err := b.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got := measured(t, reader); len(got) != 0 {
		t.Errorf("closed: %v", got)
	}
}
