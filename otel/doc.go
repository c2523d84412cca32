// Package otel is the wrapper instrument: a span and a duration for every call,
// by OpenTelemetry's semantic conventions for databases. It uses the API alone:
// whoever embeds the host brings the providers.
//
// Needs: nothing. Preserves: everything. Weakens: nothing.
//
// Metrics: the histogram db.client.operation.duration, in seconds, with
// db.system.name (the backend), db.namespace (the store), db.operation.name,
// plinth.stage, plinth.outcome ("ok", "not_found", "conflict", … a code), where
// it is asked for plinth.tenant and, where the outcome is an error and not an
// answer, error.type. Not found and conflict are answers. A transaction is its
// reads, each as what it is, and a commit with its latency and its conflict; one
// that writes a single key is the set or compare_and_set that it comes to. The
// counter plinth.ttl.operations counts write sets with a time to live.
//
// The tenants that are seen first have labels of their own, up to a number; all
// others are "_other", calls that concern several are "_many", and calls that
// concern none have no such label.
//
// Spans: one per call, "get cities" for a get in the store cities, only under a
// parent that records; keys and values are never in them.
//
// Cost: attributes are made once each. A call that nobody samples allocates
// nothing here.
package otel
