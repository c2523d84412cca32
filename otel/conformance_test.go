package otel_test

import (
	"context"
	"crypto/rand"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/plinthkv/plinth/otel"
	"github.com/plinthkv/plinth/plugins/memory"
	"github.com/plinthkv/plinth/sdk"
	"github.com/plinthkv/plinth/storage"
	"github.com/plinthkv/plinth/storage/storagetest"
	"github.com/plinthkv/plinth/wrappers"
)

// Once with nothing recorded, once with everything.
func TestConformance(t *testing.T) {
	meter := metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))
	tracer := trace.NewTracerProvider()
	for _, c := range []struct {
		name     string
		settings wrappers.Settings
	}{{"silent", wrappers.Settings{}}, {"recorded", wrappers.Settings{Tracer: tracer, Meter: meter}}} {
		t.Run(c.name, func(t *testing.T) {
			clock := storagetest.NewClock()
			storagetest.Run(t, storagetest.Factory{Clock: clock, Open: func(ctx context.Context) (storage.Backend, error) {
				env := sdk.Env{Now: clock.Now}
				rand.Read(env.Incarnation[:])
				below := memory.New(memory.DefaultConfig(), env)
				b, err := otel.New(below, otel.DefaultConfig(), c.settings)
				return storagetest.WithClose(b, below.Close), err
			}})
		})
	}
}
