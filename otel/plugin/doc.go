// Package plugin has the process of a plugin send its spans to where the host's go.
// A host that grants it (grants: { telemetry: true }) hands the tracer provider of
// its own section telemetry over, as a file that the environment variable
// OTEL_CONFIG_FILE names: OpenTelemetry's declarative configuration. A plugin in Go
// is then
//
//	func main() {
//		tracer, stop := plugin.Traces()
//		process.Serve(opener(tracer), stop)
//	}
//
// and starts its spans under sdk.TraceContext of the call's context. One in another
// language reads the file with its own SDK.
//
// Nothing but the main package of a plugin imports it: it brings in OpenTelemetry's
// SDK and exporters.
package plugin
