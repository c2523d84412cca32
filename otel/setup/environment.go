package setup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// OpenTelemetry's environment variables that this package reads itself. The SDK and its
// exporters read the others. An empty variable is unset, as its specification demands.
const (
	sdkDisabled = "OTEL_SDK_DISABLED"
	configFile  = "OTEL_CONFIG_FILE"
	propagators = "OTEL_PROPAGATORS"
	anyEndpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	anyProtocol = "OTEL_EXPORTER_OTLP_PROTOCOL"
)

// The signals, as variables have them.
const (
	traces  = "TRACES"
	metrics = "METRICS"
	logs    = "LOGS"
)

// unsupported lists variables of OpenTelemetry's specification that neither the SDK for Go
// nor this program reads, and what to use instead.
var unsupported = map[string]string{
	"OTEL_CONFIG_FILE":              "put its content into the section telemetry",
	"OTEL_EXPERIMENTAL_CONFIG_FILE": "put its content into the section telemetry",
	"OTEL_LOG_LEVEL":                "use PLINTH_LOG_LEVEL",
	"OTEL_EXPORTER_PROMETHEUS_HOST": "metrics for Prometheus are at /metrics of server.http and server.probes",
	"OTEL_EXPORTER_PROMETHEUS_PORT": "metrics for Prometheus are at /metrics of server.http and server.probes",
	"OTEL_EXPORTER_ZIPKIN_ENDPOINT": "use an OTLP endpoint",
	"OTEL_EXPORTER_ZIPKIN_TIMEOUT":  "use an OTLP endpoint",
	"OTEL_EXPORTER_JAEGER_ENDPOINT": "use an OTLP endpoint",
	"OTEL_ENTITIES":                 "use OTEL_RESOURCE_ATTRIBUTES",
}

// onlyWithout lists variables that have no effect on a configuration with a section
// telemetry.
var onlyWithout = []string{"OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_PROPAGATORS", "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"}

// environmentWarnings returns warnings about variables that have no effect, or an
// unexpected one.
func environmentWarnings(section bool) (all []string) {
	var unsent []string
	if !section {
		unsent = notExported()
	}
	for _, line := range slices.Sorted(slices.Values(os.Environ())) {
		name, value, _ := strings.Cut(line, "=")
		instead, is := unsupported[name]
		switch {
		case value == "":
		case is && !(name == configFile && section): // which is an error
			all = append(all, fmt.Sprintf("%s has no effect: %s", name, instead))
		case section && slices.Contains(onlyWithout, name):
			all = append(all, name+" has no effect, because the section telemetry is set")
		case slices.ContainsFunc(unsent, func(says string) bool { return strings.HasPrefix(says, name+" ") }):
		default:
			if wrong := wrongVariable(name, value); wrong != "" {
				all = append(all, name+" "+wrong)
			}
		}
	}
	if v := os.Getenv(sdkDisabled); v != "" && !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
		all = append(all, sdkDisabled+" is neither true nor false: it means false")
	}
	return append(all, unsent...)
}

// notExported returns why signals are not exported whose exporters are set, each reason once.
func notExported() (all []string) {
	var reasons []string
	affected := map[string][]string{}
	for _, signal := range []string{traces, metrics, logs} {
		if _, err := exported(signal); err != nil {
			reason := err.Error()
			if affected[reason] == nil {
				reasons = append(reasons, reason)
			}
			affected[reason] = append(affected[reason], strings.ToLower(signal))
		}
	}
	for _, reason := range reasons {
		signals := affected[reason]
		names := signals[len(signals)-1]
		if before := signals[:len(signals)-1]; len(before) > 0 {
			names = strings.Join(before, ", ") + " and " + names
		}
		all = append(all, fmt.Sprintf("%s: %s are not exported", reason, names))
	}
	return all
}

// disabledByEnvironment reports whether everything is off.
func disabledByEnvironment() bool { return strings.EqualFold(os.Getenv(sdkDisabled), "true") }

// exported reports whether a signal is to be sent where there is no section: if its exporter
// or an endpoint is set. The error says why what is set is not.
func exported(signal string) (bool, error) {
	variable := "OTEL_" + signal + "_EXPORTER"
	switch exporter := os.Getenv(variable); exporter {
	case "none":
		return false, nil
	case "console":
		return true, nil
	case "otlp":
		return endpoint(signal)
	case "":
		if name, _ := set("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT", anyEndpoint); name == "" {
			return false, nil
		}
		return endpoint(signal)
	case "prometheus":
		if signal == metrics { // the page is there anyway
			return false, nil
		}
		fallthrough
	default:
		return false, fmt.Errorf("%s is %q, it must be one of otlp, console, none", variable, exporter)
	}
}

// endpoint reports whether a signal can be sent to its endpoint.
func endpoint(signal string) (bool, error) {
	variable, protocol := set("OTEL_EXPORTER_OTLP_"+signal+"_PROTOCOL", anyProtocol)
	if protocol != "" && protocol != "grpc" && protocol != "http/protobuf" {
		return false, fmt.Errorf("%s is %q, it must be grpc or http/protobuf", variable, protocol)
	}
	variable, url := set("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT", anyEndpoint)
	if url == "" { // OpenTelemetry's default, on this machine
		return true, nil
	}
	if wrong := urlError(url, protocol == "grpc"); wrong != "" {
		return false, fmt.Errorf("%s %s", variable, wrong)
	}
	return true, nil
}

// set returns the first of these variables that is set, and its value.
func set(names ...string) (name, value string) {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return name, value
		}
	}
	return "", ""
}

// fromEnvironment adds what the environment says, where there is no section.
func (t *Telemetry) fromEnvironment(ctx context.Context, r *resource.Resource, options []sdkmetric.Option) (err error) {
	var ends []func(context.Context) error
	t.shutdown = func(ctx context.Context) error {
		var errs []error
		for _, end := range ends {
			errs = append(errs, end(ctx))
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.shutdown(ctx))
		}
	}()
	if to, _ := exported(metrics); to {
		reader, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		options = append(options, sdkmetric.WithReader(reader))
	}
	mp := sdkmetric.NewMeterProvider(append(options, sdkmetric.WithResource(r))...)
	t.Meter, ends = mp, append(ends, mp.Shutdown)
	if to, _ := exported(traces); to {
		exporter, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return fmt.Errorf("traces: %w", err)
		}
		tp := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(r))
		t.Tracer, ends = tp, append(ends, tp.Shutdown)
	}
	if to, _ := exported(logs); to {
		exporter, err := autoexport.NewLogExporter(ctx)
		if err != nil {
			return fmt.Errorf("logs: %w", err)
		}
		lp := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)), sdklog.WithResource(r))
		t.Logger, ends = lp, append(ends, lp.Shutdown)
	}
	if os.Getenv(propagators) != "" {
		t.Propagator = autoprop.NewTextMapPropagator(propagation.TraceContext{})
	}
	return nil
}
