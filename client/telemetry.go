package client

import (
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/plinthkv/plinth/abi/abigrpc"
)

// telemetry makes a span and a duration of every call, and has the server hear
// of the trace in W3C's headers.
func (s *Settings) telemetry() []grpc.DialOption {
	if s.Tracer == nil && s.Meter == nil {
		return nil
	}
	tracer, meter := s.Tracer, s.Meter
	if tracer == nil {
		tracer = tracenoop.NewTracerProvider()
	}
	if meter == nil {
		meter = metricnoop.NewMeterProvider()
	}
	return []grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(tracer),
		otelgrpc.WithMeterProvider(meter), otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithFilter(func(i *stats.RPCTagInfo) bool { return i.FullMethodName != abigrpc.MethodInfo })))} // that is asked all the time, by nobody
}
