package plugin

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/contrib/otelconf"
	"go.opentelemetry.io/otel/trace"
)

// ConfigFile names OpenTelemetry's environment variable for the path of the configuration.
const ConfigFile = "OTEL_CONFIG_FILE"

// Traces returns the provider for the spans of this process, according to the
// configuration from the host, or nil if there is none. An invalid configuration is
// reported on standard error, and so in the host's log, and does not stop the plugin.
// stop, which is never nil, sends the remaining spans; call it once, at the end.
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
