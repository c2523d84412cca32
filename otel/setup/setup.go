package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"

	"go.opentelemetry.io/contrib/otelconf"
	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/plinthkv/plinth/config"
)

// Settings holds what code passes in addition to the configuration.
type Settings struct {
	// Service and Version are the defaults of service.name and service.version, which the
	// configuration and OTEL_SERVICE_NAME override.
	Service, Version string
}

// maxSeries limits the sets of attributes of a metric, where its reader does not. The SDK's
// own 2,000 are fewer than a hundred tenants have, and what is beyond loses all of its
// attributes. How many there can be is bounded by the stages that emit them.
const maxSeries = 100_000

// Telemetry has the providers that Setup started. If Tracer, Meter or Logger is nil, that
// signal is not exported. The caller of Setup shuts it down.
type Telemetry struct {
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
	Logger otellog.LoggerProvider
	// Propagator reads the trace context of incoming requests.
	Propagator propagation.TextMapPropagator
	// Metrics serves the page for Prometheus. It is nil if there is none.
	Metrics http.Handler
	// Warnings has the result of [Warnings].
	Warnings []string

	shutdown func(context.Context) error
}

// Setup starts the telemetry of the section. Without a section, there are metrics for
// Prometheus, and the telemetry that OpenTelemetry's environment variables ask for, if they
// name an exporter or an endpoint. A section without meter_provider has metrics for Prometheus
// too. OTEL_SDK_DISABLED=true disables everything, unless the section overrides it. Errors
// have positions.
func Setup(ctx context.Context, section *config.Node, s Settings) (*Telemetry, error) {
	p, err := parse(section)
	if err != nil {
		return nil, err
	}
	t := &Telemetry{Propagator: propagation.TraceContext{}, Warnings: Warnings(section), shutdown: nothing}
	if p.off {
		return t, nil
	}
	options := []sdkmetric.Option{sdkmetric.WithCardinalityLimit(maxSeries)}
	if p.prometheus != nil {
		reader, page, err := newPrometheus(p.prometheus)
		if err != nil {
			return nil, section.Errorf(p.prometheusPath, "%v", err)
		}
		t.Metrics = page
		options = append(options, sdkmetric.WithReader(reader))
	}
	if section.IsEmpty() {
		if err := t.fromEnvironment(ctx, defaultResource(ctx, s), options); err != nil {
			return nil, fmt.Errorf("telemetry of the environment: %w", err)
		}
		return t, nil
	}
	if _, set := os.LookupEnv(configFile); set { // otelconf would follow it, and not the section
		return nil, section.Errorf("", "the environment has OTEL_CONFIG_FILE, which would replace this section: unset it")
	}
	nameService(ctx, &p.config, s)
	sdk, err := otelconf.NewSDK(otelconf.WithContext(ctx), otelconf.WithOpenTelemetryConfiguration(p.config),
		otelconf.WithMeterProviderOptions(options...))
	if err != nil {
		return nil, section.Errorf("", "%s", oneLine(err))
	}
	t.shutdown, t.Meter = sdk.Shutdown, sdk.MeterProvider()
	if p.config.TracerProvider != nil {
		t.Tracer = sdk.TracerProvider()
	}
	if p.config.LoggerProvider != nil {
		t.Logger = sdk.LoggerProvider()
	}
	if p.config.Propagator != nil {
		t.Propagator = sdk.Propagator()
	}
	return t, nil
}

// Shutdown sends what has not been sent, and stops everything. When ctx ends, it gives up
// the rest. Call it once.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- t.shutdown(ctx) }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("telemetry: %w", err)
		}
		return nil
	case <-ctx.Done(): // an exporter that does not listen to its context
		return fmt.Errorf("telemetry: what was not sent yet is lost: %w", context.Cause(ctx))
	}
}

func nothing(context.Context) error { return nil }

// Handler returns a handler that writes logs to local, with the ids of trace and span,
// and to logger_provider, which gets debug records only if local does.
func (t *Telemetry) Handler(local slog.Handler) slog.Handler {
	local = WithTraceContext(local)
	if t.Logger == nil {
		return local
	}
	return slog.NewMultiHandler(local, leveled{bridge(t.Logger), local})
}

// defaultResource returns what otelconf makes where nothing is said of it.
func defaultResource(ctx context.Context, s Settings) *resource.Resource {
	r := resource.DefaultWithContext(ctx) // whose name of the service is unknown_service, unless the environment has one
	merged, err := resource.Merge(r, resource.NewSchemaless(service(ctx, s)...))
	if err != nil {
		return r
	}
	return merged
}

// service returns what the program is, or what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say
// in its place.
func service(ctx context.Context, s Settings) []attribute.KeyValue {
	own := serviceAttributes(s)
	environment, err := resource.New(ctx, resource.WithFromEnv())
	if err != nil { // the SDK reports it
		return own
	}
	for i, a := range own {
		if v, ok := environment.Set().Value(a.Key); ok {
			own[i].Value = v
		}
	}
	return own
}

// nameService adds the name and version of the program to a resource that has
// none.
func nameService(ctx context.Context, c *otelconf.OpenTelemetryConfiguration, s Settings) {
	r := otelconf.Resource{}
	if c.Resource != nil {
		r = *c.Resource
	}
	for _, a := range service(ctx, s) {
		if !slices.ContainsFunc(r.Attributes, func(have otelconf.AttributeNameValue) bool { return have.Name == string(a.Key) }) {
			r.Attributes = append(r.Attributes, otelconf.AttributeNameValue{Name: string(a.Key), Value: a.Value.AsString()})
		}
	}
	c.Resource = &r
}

// decodeInto decodes a part of the configuration as otelconf does.
func decodeInto(part any, into any) error {
	raw, err := json.Marshal(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

var errNoMapping = errors.New("is OpenTelemetry's configuration, a mapping")
