package wasmhost_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/plinthkv/plinth/internal/carrier/wasmhost"
	"github.com/plinthkv/plinth/storage"
)

// The same gets on the same 10,000 items: 16-byte keys, 100-byte values, each
// answer owned by the caller. The floor is what a native backend does at least.

const benchKeys = 10_000

func benchKey(i int) []byte { return fmt.Appendf(nil, "key-%012d", i) }

// order visits the keys in an order that is not that of their slots.
func order(i int) int { return i * 7919 % benchKeys }

// floor is a map under a lock that returns owned items.
type floor struct {
	mu    sync.RWMutex
	items map[string]storage.Item
}

func (f *floor) Get(_ context.Context, key []byte) (storage.Item, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	it, ok := f.items[string(key)]
	if !ok {
		return storage.Item{}, storage.ErrNotFound
	}
	it.Value = append(make([]byte, 0, len(it.Value)), it.Value...)
	return it, nil
}

func newFloor() *floor {
	f := &floor{items: make(map[string]storage.Item, benchKeys)}
	for i := range benchKeys {
		f.items[string(benchKey(i))] = storage.Item{Value: make([]byte, 100), Version: 1}
	}
	return f
}

// kv is the C guest, filled.
func kv(b *testing.B, trusted bool, more ...func(*wasmhost.Options)) *wasmhost.Backend {
	o := wasmhost.Options{Name: "kv"}
	for _, f := range more {
		f(&o)
	}
	if trusted {
		o.Trusted, o.BuiltIn = true, true
	}
	kv := openGuest(b, "kv", "", o)
	for i := range benchKeys {
		apply(b, kv, storage.Put(benchKey(i), make([]byte, 100)))
	}
	return kv
}

// counted has everything recorded that can be, of calls that are not sampled.
func counted(o *wasmhost.Options) {
	o.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	o.Tracer = sdktrace.NewTracerProvider()
}

// Goals: trusted ≤ 1.9 × the floor with one allocation, interruptible ≤ 5.
func BenchmarkWasmGet(b *testing.B) {
	ctx := context.Background()
	keys := make([][]byte, benchKeys)
	for i := range keys {
		keys[i] = benchKey(order(i))
	}
	for _, bench := range []struct {
		name string
		b    interface {
			Get(context.Context, []byte) (storage.Item, error)
		}
	}{{"floor", newFloor()}, {"trusted", kv(b, true)}, {"trusted, counted", kv(b, true, counted)}, {"interruptible", kv(b, false)}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if it, err := bench.b.Get(ctx, keys[i%benchKeys]); err != nil || len(it.Value) != 100 {
					b.Fatal(it, err)
				}
				i++
			}
		})
	}
}

// Goal: trusted ≤ 1.1 × the floor per key. One op is 256 of the keys, in turn; the
// metric is per key.
func BenchmarkWasmGetMany256(b *testing.B) {
	ctx := context.Background()
	const many = 256
	var batches [benchKeys / many][][]byte
	for i := range batches {
		for j := range many {
			batches[i] = append(batches[i], benchKey(order(i*many+j)))
		}
	}
	perKey := func(b *testing.B) { b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/many, "ns/key") }
	f := newFloor()
	b.Run("floor", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			for _, key := range batches[i%len(batches)] {
				if _, err := f.Get(ctx, key); err != nil {
					b.Fatal(err)
				}
			}
		}
		perKey(b)
	})
	for _, bench := range []struct {
		name string
		b    *wasmhost.Backend
	}{{"trusted", kv(b, true)}, {"interruptible", kv(b, false)}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if items, err := bench.b.GetMany(ctx, batches[i%len(batches)]); err != nil || len(items) != many {
					b.Fatal(len(items), err)
				}
			}
			perKey(b)
		})
	}
}

// 16 callers on one instance: what they cost when their calls are combined.
func BenchmarkWasmGetParallel(b *testing.B) {
	ctx := context.Background()
	for _, bench := range []struct {
		name    string
		trusted bool
	}{{"trusted", true}, {"interruptible", false}} {
		guest := kv(b, bench.trusted)
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(p *testing.PB) {
				for i := 0; p.Next(); i++ {
					if _, err := guest.Get(ctx, benchKey(order(i%benchKeys))); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
