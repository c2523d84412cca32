package ledger

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/plinthkv/plinth/sdk"
)

// scope is how OpenTelemetry knows the package.
const scope = "github.com/plinthkv/plinth/plugins/ledger"

// What every request says of who sends it.
const (
	metaAPIVersion = "x-ledger-api-version"
	metaSDKVersion = "x-sdk-version"
	traceparent    = "traceparent"
	tracestate     = "tracestate"
	apiVersion     = "1"
	sdkVersion     = "go-plinth/" + Version
)

// traced returns ctx for one attempt: with the headers that every request has, those of the
// trace, and a span of its own where what it is part of is recorded, by whatever records
// that, or by the node's tracer where that is in another process. end takes how the attempt
// ended, and returns it.
func traced(ctx context.Context, n *node, method string) (_ context.Context, end func(*failure) *failure) {
	end = func(f *failure) *failure { return f }
	parent, recorder := trace.SpanFromContext(ctx), trace.TracerProvider(nil)
	switch sc := parent.SpanContext(); {
	case parent.IsRecording():
		recorder = parent.TracerProvider()
	case !sc.IsValid():
		md := metadata.MD{}
		if text, state := sdk.TraceContext(ctx); text != "" {
			md.Set(traceparent, text)
			md.Set(tracestate, state)
		}
		ctx = propagation.TraceContext{}.Extract(ctx, carrier(md))
		if trace.SpanContextFromContext(ctx).IsSampled() {
			recorder = n.tracer
		}
	}
	if recorder != nil {
		service, name, _ := strings.Cut(method[1:], "/")
		var span trace.Span
		ctx, span = recorder.Tracer(scope).Start(ctx, service+"/"+name, trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String("rpc.system", "grpc"), attribute.String("rpc.service", service),
				attribute.String("rpc.method", name), attribute.String("server.address", n.name)))
		end = func(f *failure) *failure {
			code := codes.OK
			if f != nil {
				code = f.Code
				span.SetStatus(otelcodes.Error, code.String())
			}
			span.SetAttributes(attribute.Int("rpc.grpc.status_code", int(code)))
			span.End()
			return f
		}
	}
	md := metadata.MD{metaAPIVersion: {apiVersion}, metaSDKVersion: {sdkVersion}}
	propagation.TraceContext{}.Inject(ctx, carrier(md))
	return metadata.NewOutgoingContext(ctx, md), end
}

// carrier is metadata as OpenTelemetry writes into it.
type carrier metadata.MD

// Get returns the first value of a key.
func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set gives a key one value.
func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys returns all keys.
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}
