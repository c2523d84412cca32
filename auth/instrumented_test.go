package auth_test

import (
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/plinthkv/plinth/auth"
	"github.com/plinthkv/plinth/otel/snapshot"
	"github.com/plinthkv/plinth/storage"
)

// Every operation is a span and in the snapshot, with what came of it.
func TestInstrumented(t *testing.T) {
	onEach(t, func(t *testing.T, keys *auth.Keys, _ *storage.Store, _ *now) {
		ctx := t.Context()
		spans, metrics := tracetest.NewSpanRecorder(), snapshot.New()
		i, err := auth.NewInstrumented(keys, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)), sdkmetric.NewMeterProvider(sdkmetric.WithReader(metrics)))
		want(t, "new", err, nil)
		k := newKey(t, "k")
		want(t, "create", i.Create(ctx, org, k), nil)
		want(t, "create", i.Create(ctx, org, k), storage.AlreadyExists)
		i.CreateMany(ctx, org, []auth.PublicSigningKey{newKey(t, "m")})
		i.Get(ctx, org, "none")
		i.GetMany(ctx, org, []string{"k"})
		kids(t, i.List(ctx, org))
		kids(t, i.ListActive(ctx, org))
		i.Deactivate(ctx, org, "k")
		i.Activate(ctx, org, "k")
		i.Rotate(ctx, org, "k", newKey(t, "n"), 0)
		want(t, "activate", i.Activate(ctx, org, "k"), auth.InvalidState)
		i.Revoke(ctx, org, "n", "")
		i.RevokeMany(ctx, org, []auth.Revocation{{Kid: "m"}})
		i.Delete(ctx, org, "n")

		ops := map[string]snapshot.Operation{}
		now, err := metrics.Snapshot(ctx)
		want(t, "snapshot", err, nil)
		for _, o := range now.SigningKeys {
			ops[o.Name] = o
		}
		for name, calls := range map[string]uint64{"create": 2, "create_many": 1, "get": 1, "get_many": 1, "list": 1, "list_active": 1,
			"deactivate": 1, "activate": 2, "rotate": 1, "revoke": 1, "revoke_many": 1, "delete": 1} {
			if ops[name].Count != calls || ops[name].P50 <= 0 {
				t.Errorf("%s: %+v", name, ops[name])
			}
		}
		if ops["create"].Errors != 1 || ops["get"].NotFound != 1 || ops["activate"].Errors != 1 || len(ops) != 12 {
			t.Errorf("%+v", ops)
		}
		seen := map[string]int{}
		for _, s := range spans.Ended() {
			seen[s.Name()]++
		}
		if seen["auth.create"] != 2 || seen["auth.list_active"] != 1 || len(seen) != 12 {
			t.Errorf("%v", seen)
		}
	})
}
