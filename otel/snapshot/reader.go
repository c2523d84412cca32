package snapshot

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// maxBuckets limits the buckets of a histogram. Latencies from 1 µs to 10 s, in one
// histogram, take a bucket of 9 %, and an error of 4.4 %.
const maxBuckets = 320

// maxSeries limits the number of histograms. The SDK's own 2,000 are fewer than a hundred
// tenants have; how many there can be, the stages bound.
const maxSeries = 100_000

// Reader collects the measurements of instrument stages:
//
//	r := snapshot.New()
//	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(r))
//	host, err := plinth.Open(ctx, path, plinth.WithMeterProvider(meter))
//	…
//	now, err := r.Snapshot(ctx)
//
// It is safe for concurrent use. The MeterProvider shuts it down.
type Reader struct{ *sdkmetric.ManualReader }

// New returns a Reader whose snapshots count from the start.
func New() *Reader { return newReader(metricdata.CumulativeTemporality) }

// NewWindow returns a Reader whose snapshots count from the previous snapshot, so that
// old measurements do not hide recent ones.
func NewWindow() *Reader { return newReader(metricdata.DeltaTemporality) }

func newReader(t metricdata.Temporality) *Reader {
	return &Reader{sdkmetric.NewManualReader(
		sdkmetric.WithCardinalityLimitSelector(func(sdkmetric.InstrumentKind) (limit int, fallback bool) { return maxSeries, false }),
		sdkmetric.WithTemporalitySelector(func(sdkmetric.InstrumentKind) metricdata.Temporality { return t }),
		sdkmetric.WithAggregationSelector(func(k sdkmetric.InstrumentKind) sdkmetric.Aggregation {
			switch k {
			case sdkmetric.InstrumentKindHistogram:
				return sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: maxBuckets, MaxScale: 20}
			case sdkmetric.InstrumentKindCounter:
				return sdkmetric.AggregationSum{}
			}
			return sdkmetric.AggregationDrop{}
		}))}
}

// errForeign reports a reader whose histograms are not ours: a view changed them.
var errForeign = errors.New("snapshot: a duration is not an exponential histogram here: a view of the MeterProvider overrides it")

// Snapshot collects the measurements. It omits stages without calls.
func (r *Reader) Snapshot(ctx context.Context) (*Snapshot, error) {
	var rm metricdata.ResourceMetrics
	if err := r.Collect(ctx, &rm); err != nil {
		return nil, err
	}
	b, keys := builder{}, map[string]*Operation{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch m.Name {
			case "db.client.operation.duration":
				data, ok := m.Data.(metricdata.ExponentialHistogram[float64])
				if !ok {
					return nil, errForeign
				}
				for i := range data.DataPoints {
					p := &data.DataPoints[i]
					b.duration(p.Attributes, fromPoint(p))
				}
			case "plinth.auth.operation.duration":
				data, ok := m.Data.(metricdata.ExponentialHistogram[float64])
				if !ok {
					return nil, errForeign
				}
				for i := range data.DataPoints {
					if p := &data.DataPoints[i]; p.Count > 0 {
						add(keys, text(p.Attributes, "plinth.auth.operation"), text(p.Attributes, "plinth.outcome"), fromPoint(p))
					}
				}
			case "plinth.ttl.operations":
				if data, ok := m.Data.(metricdata.Sum[int64]); ok {
					for _, p := range data.DataPoints {
						b.at(p.Attributes).TTLOperations += uint64(max(p.Value, 0))
					}
				}
			}
		}
	}
	s := b.snapshot()
	s.SigningKeys = operations(keys)
	return s, nil
}

// builder gathers points, by store and stage.
type builder map[[2]string]*gathered

type gathered struct {
	Stage
	ops     map[string]*Operation
	tenants map[string]map[string]*Operation
}

func text(set attribute.Set, key attribute.Key) string {
	v, _ := set.Value(key)
	return v.AsString()
}

func (b builder) at(set attribute.Set) *gathered {
	key := [2]string{text(set, "db.namespace"), text(set, "plinth.stage")}
	g := b[key]
	if g == nil {
		g = &gathered{Stage: Stage{Store: key[0], Name: key[1]}, ops: map[string]*Operation{}, tenants: map[string]map[string]*Operation{}}
		b[key] = g
	}
	return g
}

func (b builder) duration(set attribute.Set, h histogram) {
	if h.count == 0 {
		return
	}
	g, name, outcome := b.at(set), text(set, "db.operation.name"), text(set, "plinth.outcome")
	if system := text(set, "db.system.name"); system != "" {
		g.System = system
	}
	add(g.ops, name, outcome, h)
	tenant := text(set, "plinth.tenant")
	if tenant == "" {
		return
	}
	if g.tenants[tenant] == nil {
		g.tenants[tenant] = map[string]*Operation{}
	}
	add(g.tenants[tenant], name, outcome, h)
}

func add(ops map[string]*Operation, name, outcome string, h histogram) {
	o := ops[name]
	if o == nil {
		o = &Operation{Name: name}
		ops[name] = o
	}
	switch outcome {
	case "ok":
	case "not_found":
		o.NotFound += h.count
	case "conflict":
		o.Conflicts += h.count
	default:
		o.Errors += h.count
	}
	o.histogram.add(h)
}

func (b builder) snapshot() *Snapshot {
	s := &Snapshot{At: time.Now()}
	for _, g := range b {
		g.Operations = operations(g.ops)
		for name, ops := range g.tenants {
			t := Tenant{Name: name, Operations: operations(ops)}
			t.Total = total(t.Operations)
			g.Tenants = append(g.Tenants, t)
		}
		slices.SortFunc(g.Tenants, func(a, b Tenant) int {
			switch {
			case a.Total.Count > b.Total.Count:
				return -1
			case a.Total.Count < b.Total.Count:
				return 1
			}
			return strings.Compare(a.Name, b.Name)
		})
		g.Total = total(g.Operations)
		s.Stages = append(s.Stages, g.Stage)
	}
	slices.SortFunc(s.Stages, func(a, b Stage) int {
		if c := strings.Compare(a.Store, b.Store); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return s
}

func operations(by map[string]*Operation) []Operation {
	var out []Operation
	for _, name := range slices.Sorted(maps.Keys(by)) {
		o := *by[name]
		o.complete()
		out = append(out, o)
	}
	return out
}

// total returns all operations together, but for questions after health.
func total(ops []Operation) Operation {
	var t Operation
	for _, o := range ops {
		if o.Name == "health" {
			continue
		}
		t.NotFound += o.NotFound
		t.Conflicts += o.Conflicts
		t.Errors += o.Errors
		t.histogram.add(o.histogram)
	}
	t.complete()
	return t
}
