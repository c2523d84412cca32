package plinth_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/plinthkv/plinth"
	"github.com/plinthkv/plinth/internal/sentinel"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/wrappers"
	"github.com/plinthkv/plinth/wrappers/circuitbreaker"
	"github.com/plinthkv/plinth/wrappers/faults"
	"github.com/plinthkv/plinth/wrappers/prefix"
	"github.com/plinthkv/plinth/wrappers/ratelimit"
)

// able is a backend that can do everything, and does nothing.
type able struct{ storage.UnimplementedBackend }

func (able) Info() storage.Info { return storage.Info{Caps: ^storage.Caps(0)} }

// decoded is a configuration that is decoded already.
type decoded struct{ config any }

func (d decoded) Decode(v any) error {
	reflect.ValueOf(v).Elem().Set(reflect.ValueOf(d.config))
	return nil
}

// withSomething are configurations of a kind of wrapper in which every field counts, each
// in one of them, and the values that fields are changed to, where any other is refused.
func withSomething(defaults any) (configs []any, others map[string]any) {
	switch c := defaults.(type) {
	case circuitbreaker.Config:
		byRate := c
		byRate.FailureRate = 0.5
		return []any{c, byRate}, nil
	case faults.Config:
		c.Seed, c.Rules = 1, []faults.Rule{{Rate: 0.5, Delay: time.Second, Error: "timeout"}}
		return []any{c}, map[string]any{"Rules.Error": "unavailable", "Rules.Calls": []string{"get"}}
	case prefix.Config:
		c.Prefix = "p"
		return []any{c}, nil
	case ratelimit.Config:
		c.Rate, c.Burst, c.Tenant.Until = 1, 1, "/"
		c.Tenants = map[string]ratelimit.Quota{"a": {Rate: 1, Burst: 1}}
		return []any{c}, nil
	}
	return []any{defaults}, nil
}

// lookedUp are the settings that each call looks up in a wrapper's configuration, instead
// of in what the wrapper was made of. Its own tests try them.
var lookedUp = map[string][]string{
	"batch":      {"Linger", "MaxBytes", "MaxOps"},
	"cache":      {"NegativeTTL", "Staleness", "TTL"},
	"rate_limit": {"BytesPerToken", "RowsPerToken", "Tenant.Prefix", "Tenant.Until"},
	"retry":      {"Deadline", "Unknown"},
	"timeout":    {"Apply", "Changes", "Get", "GetMany", "Health", "Scan", "Timeout"},
}

// Every setting of a wrapper reaches what it is made of.
func TestNoSettingOfAWrapperIsForgotten(t *testing.T) {
	tracer := sdktrace.NewTracerProvider()
	for _, f := range plinth.Wrappers() {
		t.Run(f.Kind(), func(t *testing.T) {
			build := func(config any) any {
				b, err := f.Build(able{}, decoded{config}, wrappers.Settings{Stage: f.Kind(), Hub: wrappers.NewHub(able{}), Tracer: tracer, Meter: noop.NewMeterProvider()})
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close(t.Context())
				made := strings.Split(sentinel.Print(b), "\n")
				return slices.DeleteFunc(made, func(line string) bool { return strings.HasPrefix(strings.TrimPrefix(line, "memory."), "config.") })
			}
			configs, others := withSomething(f.Defaults())
			forgotten := sentinel.Ignored(configs[0], others, build)
			for _, c := range configs[1:] {
				also := sentinel.Ignored(c, others, build)
				forgotten = slices.DeleteFunc(forgotten, func(path string) bool { return !slices.Contains(also, path) })
			}
			if want := lookedUp[f.Kind()]; !slices.Equal(forgotten, want) {
				t.Errorf("%q do nothing, want %q", forgotten, want)
			}
		})
	}
}
