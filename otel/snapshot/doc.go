// Package snapshot reads the metrics of stores within the process: counts, latencies
// with percentiles, and rates of errors and conflicts, overall and by tenant. It is for
// programs that embed a host and need figures without an exporter.
//
// A [Reader] is an additional reader of the program's MeterProvider. It keeps exponential
// histograms of all measurements of each operation: there is no sampling, no window that
// depends on the caller, and histograms can be merged. A percentile differs from the exact
// one by at most [Operation.Error] of its value.
//
// It is a package of its own because it needs OpenTelemetry's SDK, which other embeddable
// packages do not.
package snapshot
