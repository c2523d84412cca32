package grpcserver

import (
	"context"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/stats"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
)

// telemetry makes a span and a duration of every call of the service, and takes
// up the trace context that W3C's headers bring.
func (s *Server) telemetry() stats.Handler {
	tracer, meter := s.settings.Tracer, s.settings.Meter
	if tracer == nil {
		tracer = tracenoop.NewTracerProvider()
	}
	if meter == nil {
		meter = metricnoop.NewMeterProvider()
	}
	return otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(tracer), otelgrpc.WithMeterProvider(meter),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithFilter(func(i *stats.RPCTagInfo) bool {
			return abigrpc.Of(i.FullMethodName) && i.FullMethodName != abigrpc.MethodInfo // which clients ask all the time
		}))
}

// countFailures has wrong tokens counted, as those over HTTP are.
func (s *Server) countFailures() error {
	if s.settings.Meter == nil {
		return nil
	}
	_, err := s.settings.Meter.Meter("github.com/plinthkv/plinth/server/grpcserver").Int64ObservableCounter("plinth.server.auth.failures",
		metric.WithUnit("{request}"), metric.WithDescription("Requests with a wrong token."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(s.guard.Failures(), metric.WithAttributes(attribute.String("network.protocol.name", "grpc")))
			return nil
		}))
	return err
}
