// Package snapshot reads the metrics of stores where they are made: counts,
// latencies with percentiles, rates of errors and conflicts, for all and by
// tenant. It is for who embeds a host and wants numbers and not an exporter.
//
// A [Reader] is one more reader of the embedder's own MeterProvider, and keeps
// exponential histograms of every operation in full: no sampling, no window that
// depends on who calls, and two of them can be added. A percentile is at most
// [Operation.Error] of its value away from the exact one.
//
// It is a room of its own because it needs OpenTelemetry's SDK, which nothing
// else that is embedded does.
package snapshot
