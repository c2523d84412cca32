package grpcserver

import (
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/stats"

	"github.com/plinthkv/plinth/abi/abigrpc"
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
