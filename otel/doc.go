// Package otel is the wrapper instrument: a span and a duration for every call,
// by OpenTelemetry's semantic conventions for databases. It uses the API alone:
// whoever embeds the host brings the providers.
//
// Needs: nothing. Preserves: everything. Weakens: nothing.
//
// Metrics: the histogram db.client.operation.duration, in seconds, with
// db.system.name (the backend), db.namespace (the store), db.operation.name,
// plinth.stage, plinth.outcome ("ok", "not_found", "conflict", … a code) and,
// where the outcome is an error and not an answer, error.type. Not found and
// conflict are answers.
//
// Spans: one per call, "get cities" for a get in the store cities, only under a
// parent that records; keys and values are never in them.
//
// Cost: attributes are made once, when the wrapper is built. A call that nobody
// samples allocates nothing here.
package otel
