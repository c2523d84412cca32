package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/plinthkv/plinth/internal/tenant"
	"github.com/plinthkv/plinth/otel"
	"github.com/plinthkv/plinth/otel/snapshot"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
)

// recorder records durations as the wrapper does, of values that the test knows.
type recorder struct {
	*snapshot.Reader
	h metric.Float64Histogram
}

func newRecorder(t *testing.T, r *snapshot.Reader) *recorder {
	t.Helper()
	h, err := sdkmetric.NewMeterProvider(sdkmetric.WithReader(r)).Meter("test").Float64Histogram("db.client.operation.duration")
	if err != nil {
		t.Fatal(err)
	}
	return &recorder{r, h}
}

func (r *recorder) record(op, outcome string, d time.Duration) {
	r.h.Record(context.Background(), d.Seconds(), metric.WithAttributes(attribute.String("db.namespace", "cities"), attribute.String("plinth.stage", "instrument"),
		attribute.String("db.system.name", "memory"), attribute.String("db.operation.name", op), attribute.String("plinth.outcome", outcome)))
}

func (r *recorder) take(t *testing.T) *snapshot.Stage {
	t.Helper()
	s, err := r.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	stage := s.Stage("cities", "instrument")
	if stage == nil {
		return &snapshot.Stage{}
	}
	return stage
}

// exact is the percentile of nearest rank.
func exact(sorted []time.Duration, p float64) time.Duration {
	return sorted[max(int(math.Ceil(p*float64(len(sorted)))), 1)-1]
}

func near(got, want time.Duration, bound float64) bool {
	return math.Abs(float64(got-want)) <= bound*float64(want)+1
}

// Percentiles are those of nearest rank over everything that was recorded, no
// further away than what the snapshot says of itself.
func TestPercentiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	ramp := func(n int) (out []time.Duration) {
		for i := range n {
			out = append(out, time.Duration(i+1)*time.Microsecond)
		}
		return out
	}
	wide := make([]time.Duration, 10_000) // 1 µs to 10 s, evenly in ratio
	for i := range wide {
		wide[i] = time.Duration(math.Pow(10, 3+7*random.Float64()))
	}
	for name, c := range map[string]struct {
		values []time.Duration
		bound  float64
	}{
		"one":              {ramp(1), 0.001},
		"two":              {ramp(2), 0.01},
		"1 to 100":         {ramp(100), 0.03}, // 50, 95, 99
		"1 to 10,000":      {ramp(10_000), 0.03},
		"all the same":     {slices.Repeat([]time.Duration{42 * time.Millisecond}, 1000), 0.001},
		"1 µs to 10 s":     {wide, 0.045},
		"one far away":     {append(ramp(99), 10*time.Second), 0.045},
		"half of them far": {append(ramp(50), slices.Repeat([]time.Duration{time.Second}, 50)...), 0.045},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(t, snapshot.New())
			for _, v := range c.values {
				r.record("get", "ok", v)
			}
			sorted := slices.Sorted(slices.Values(c.values))
			stage := r.take(t)
			o := stage.Operation("get")
			if o.Error > c.bound {
				t.Errorf("an error of %.4f, want at most %.4f", o.Error, c.bound)
			}
			for p, got := range map[float64]time.Duration{0.50: o.P50, 0.95: o.P95, 0.99: o.P99, 0: o.Percentile(0), 1: o.Percentile(1)} {
				if want := exact(sorted, p); !near(got, want, o.Error) {
					t.Errorf("p%g is %s, want %s within %.2f %%", p*100, got, want, o.Error*100)
				}
			}
			if o.Count != uint64(len(sorted)) || !near(o.Min, sorted[0], 0) || !near(o.Max, sorted[len(sorted)-1], 0) {
				t.Errorf("%d from %s to %s, want %d from %s to %s", o.Count, o.Min, o.Max, len(sorted), sorted[0], sorted[len(sorted)-1])
			}
		})
	}
}

// Outcomes of one operation have histograms of their own, of different scales:
// together they are as if it had been one.
func TestPercentilesOfAllOutcomes(t *testing.T) {
	r := newRecorder(t, snapshot.New())
	var all []time.Duration
	for i := range 1000 {
		slow, fast := time.Duration(i+1)*time.Millisecond, time.Duration(i+1)*time.Nanosecond*100
		r.record("get", "ok", slow)
		r.record("get", "not_found", fast)
		all = append(all, slow, fast)
	}
	r.record("get", "unavailable", 0) // a clock that stands still
	all = append(all, 0)
	slices.Sort(all)
	o := r.take(t).Operation("get")
	for p, got := range map[float64]time.Duration{0: o.Percentile(0), 0.25: o.Percentile(0.25), 0.5: o.P50, 0.75: o.Percentile(0.75), 0.99: o.P99} {
		if want := exact(all, p); !near(got, want, o.Error) {
			t.Errorf("p%g is %s, want %s within %.2f %%", p*100, got, want, o.Error*100)
		}
	}
	if o.Count != 2001 || o.NotFound != 1000 || o.Errors != 1 || o.Min != 0 {
		t.Errorf("%+v", o)
	}
}

// A conflict is not an error, and is a rate of what can conflict.
func TestRates(t *testing.T) {
	r := newRecorder(t, snapshot.New())
	for op, outcomes := range map[string]map[string]int{
		"get":             {"ok": 70, "not_found": 10, "unavailable": 5},
		"compare_and_set": {"ok": 3, "conflict": 1},
		"commit":          {"ok": 4, "conflict": 2},
		"health":          {"unavailable": 50},
		"set":             {"rate_limited": 5},
	} {
		for outcome, n := range outcomes {
			for range n {
				r.record(op, outcome, time.Millisecond)
			}
		}
	}
	s := r.take(t)
	if s.Total.Count != 100 || s.Total.Errors != 10 || s.Total.ErrorRate() != 0.1 || s.ConflictRate() != 0.3 {
		t.Errorf("%+v, conflicts %v", s.Total, s.ConflictRate())
	}
	get, commit := s.Operation("get"), s.Operation("commit")
	if get.Count != 85 || get.NotFound != 10 || get.ErrorRate() != 5.0/85 || get.ConflictRate() != 0 || commit.ConflictRate() != 2.0/6 {
		t.Errorf("%+v %+v", get, commit)
	}
	if near(get.Mean(), time.Millisecond, 0.001) == false {
		t.Error(get.Mean())
	}
	if none := s.Operation("scan"); none.Count != 0 || none.P99 != 0 || none.Mean() != 0 || none.ErrorRate() != 0 {
		t.Errorf("%+v", none)
	}
}

// A window forgets what was before the snapshot before; the other kind does not.
func TestWindow(t *testing.T) {
	window, always := newRecorder(t, snapshot.NewWindow()), newRecorder(t, snapshot.New())
	for _, r := range []*recorder{window, always} {
		r.record("get", "ok", time.Second)
		r.take(t)
		r.record("get", "ok", time.Millisecond)
	}
	if o := window.take(t).Operation("get"); o.Count != 1 || o.Max > 2*time.Millisecond {
		t.Errorf("a window has %+v", o)
	}
	if o := window.take(t).Operation("get"); o.Count != 0 {
		t.Errorf("an empty window has %+v", o)
	}
	if o := always.take(t).Operation("get"); o.Count != 2 || o.Max != time.Second {
		t.Errorf("from the start there is %+v", o)
	}
}

// What the wrapper emits arrives, by tenant too, with those over the number
// together.
func TestOfAStore(t *testing.T) {
	r, ctx := snapshot.New(), context.Background()
	c := otel.DefaultConfig()
	c.Tenant = otel.Tenant{Config: tenant.Config{Prefix: "org/", Until: "/"}, Max: 2}
	b, err := otel.New(memory.New(memory.DefaultConfig(), sdk.Env{}), c, wrappers.Settings{Store: "cities", Stage: "outer",
		Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(r))})
	if err != nil {
		t.Fatal(err)
	}
	s := storage.New(b, storage.Settings{})
	for i, n := range []int{3, 1, 5, 1} {
		for range n {
			s.Get(ctx, fmt.Appendf(nil, "org/%d/k", i))
		}
	}
	s.Put(ctx, []byte("org/1/k"), []byte("v"), storage.WithTTL(time.Hour))
	s.Put(ctx, []byte("org/1/k"), []byte("v"), storage.IfAbsent())
	snap, err := r.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stage := snap.Stage("cities", "outer")
	if stage == nil || len(snap.Stages) != 1 || snap.Stage("cities", "inner") != nil {
		t.Fatalf("%+v", snap)
	}
	var got []string
	for _, tenant := range stage.Tenants {
		o := tenant.Operation("get")
		got = append(got, fmt.Sprintf("%s %d %d", tenant.Name, tenant.Total.Count, o.Count))
	}
	if want := []string{"_other 6 6", "0 3 3", "1 3 1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	set := stage.Operation("compare_and_set")
	if stage.System != "memory" || stage.TTLOperations != 1 || set.Conflicts != 1 || stage.Total.Errors != 0 || stage.Total.P99 <= 0 {
		t.Errorf("%+v", stage)
	}
}

// More tenants than the SDK has room for by itself.
func TestManyTenants(t *testing.T) {
	r := snapshot.New()
	h, _ := sdkmetric.NewMeterProvider(sdkmetric.WithReader(r)).Meter("test").Float64Histogram("db.client.operation.duration")
	for i := range 3000 {
		h.Record(t.Context(), 1, metric.WithAttributes(attribute.String("db.namespace", "cities"), attribute.String("db.operation.name", "get"),
			attribute.String("plinth.outcome", "ok"), attribute.Int("of", i), attribute.String("plinth.tenant", fmt.Sprint(i))))
	}
	s, err := r.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stage := s.Stage("cities", ""); stage == nil || len(stage.Tenants) != 3000 || stage.Total.Count != 3000 {
		t.Errorf("%+v", s.Stages)
	}
}

// Without calls there is nothing, and a reader that a view has taken the
// histograms from says so.
func TestNothingAndForeign(t *testing.T) {
	if s, err := snapshot.New().Snapshot(context.Background()); err == nil || s != nil {
		t.Errorf("a reader of no provider: %v %v", s, err)
	}
	r := snapshot.New()
	p := sdkmetric.NewMeterProvider(sdkmetric.WithReader(r), sdkmetric.WithView(sdkmetric.NewView(sdkmetric.Instrument{Name: "db.*"},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: []float64{1}}})))
	h, _ := p.Meter("test").Float64Histogram("db.client.operation.duration")
	if s, err := r.Snapshot(context.Background()); err != nil || len(s.Stages) != 0 {
		t.Errorf("%v %v", s, err)
	}
	h.Record(context.Background(), 1)
	if _, err := r.Snapshot(context.Background()); err == nil {
		t.Error("a foreign histogram is taken")
	}
	p.Shutdown(context.Background())
	if _, err := r.Snapshot(context.Background()); !errors.Is(err, sdkmetric.ErrReaderShutdown) {
		t.Error(err)
	}
}
