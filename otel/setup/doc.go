// Package setup makes a program's telemetry of its configuration: the SDK, the
// exporters, the page for Prometheus, the way of the logs, and what plugins are
// handed of it. Beside otel/plugin and otel/snapshot it is the only room that knows
// OpenTelemetry's SDK, and nothing but programs imports it: who embeds the host
// brings providers of its own.
//
// The section telemetry is OpenTelemetry's declarative configuration, as it is.
// It is validated against OpenTelemetry's published JSON Schema before anything is
// started, less what otelconf does not read: a key that is misspelt is an error at its
// place, where otelconf would do without it.
package setup
