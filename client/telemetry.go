package client

import (
	"context"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	otelcodes "go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/plinthkv/plinth/internal/abi/abigrpc"
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
	return []grpc.DialOption{grpc.WithStatsHandler(expected{otelgrpc.NewClientHandler(otelgrpc.WithTracerProvider(tracer),
		otelgrpc.WithMeterProvider(meter), otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithFilter(func(i *stats.RPCTagInfo) bool { return i.FullMethodName != abigrpc.MethodInfo }))})} // which is called all the time, without a caller
}

// expected keeps the spans of calls whose outcome is an answer, an absent key or
// a conflict, from being errors: to gRPC's conventions everything is one but OK.
type expected struct{ stats.Handler }

// HandleRPC gives a span its final status before it gets another one.
func (e expected) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if end, ok := s.(*stats.End); ok && end.Error != nil {
		switch status.Code(end.Error) {
		case codes.NotFound, codes.Aborted:
			trace.SpanFromContext(ctx).SetStatus(otelcodes.Ok, "")
		}
	}
	e.Handler.HandleRPC(ctx, s)
}
