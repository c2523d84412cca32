// Package otel is the wrapper instrument, which records a span and a duration for
// every call, by OpenTelemetry's semantic conventions for databases. It uses the
// API alone: the program that embeds the host supplies the providers.
//
// Needs: nothing. Preserves: everything. Weakens: nothing.
//
// Metrics: the histogram db.client.operation.duration, in seconds. Its attributes
// are db.system.name (the backend), db.namespace (the store), db.operation.name,
// plinth.stage and plinth.outcome ("ok", "not_found", "conflict", … a code);
// plinth.tenant, if configured; and error.type, if the outcome is an error. Not
// found and conflict are not errors. A transaction is recorded as its reads, each
// under its own operation, and a commit with its latency and its conflict; a
// commit of a single key is recorded as the equivalent set or compare_and_set.
// The counter plinth.ttl.operations counts write sets with a time to live.
//
// Up to a maximum, the tenants that are seen first have labels of their own. All
// others are "_other", calls that concern several tenants are "_many", and calls
// that concern none have no such label.
//
// Spans: one per call, for example "get cities" for a get in the store cities,
// and only under a recording parent. Keys and values are never in spans.
//
// Cost: attributes are created once. An unsampled call allocates nothing here.
package otel
