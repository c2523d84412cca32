// Package setup builds a program's telemetry from its configuration: the SDK, the
// exporters, the page for Prometheus, the export of logs, and the part that plugins
// receive. Apart from otel/plugin and otel/snapshot, it is the only package that depends on
// OpenTelemetry's SDK, and only programs import it: a program that embeds a host
// brings providers of its own.
//
// The section telemetry is OpenTelemetry's declarative configuration, unchanged. It is
// validated against OpenTelemetry's published JSON Schema before anything is started,
// except for parts that otelconf does not read: a misspelt key is an error at its place,
// while otelconf would ignore it.
package setup
