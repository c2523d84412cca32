package plugin

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/contrib/otelconf"
	"go.opentelemetry.io/otel/trace"
)

// ConfigFile is the environment variable that names the configuration, as
// OpenTelemetry has it.
const ConfigFile = "OTEL_CONFIG_FILE"

// Traces is where the spans of this process go by what the host has handed over. A
// nil provider: nowhere. What is wrong with that is told on standard error, from
// where it gets into the host's log, and keeps no plugin from serving. stop, which is
// never nil, sends what was not sent yet; it is to be called once, at the end.
func Traces() (tracer trace.TracerProvider, stop func(context.Context) error) {
	nothing := func(context.Context) error { return nil }
	if os.Getenv(ConfigFile) == "" {
		return nil, nothing
	}
	sdk, err := otelconf.NewSDK() // it reads the file
	if err != nil {
		fmt.Fprintf(os.Stderr, "no spans of the plugin's own: %v\n", err)
		return nil, nothing
	}
	return sdk.TracerProvider(), sdk.Shutdown
}
