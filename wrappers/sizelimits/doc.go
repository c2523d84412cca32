// Package sizelimits is the wrapper size_limits, which refuses keys, values and
// write sets above the configured sizes, and shortens pages, before any work is
// done.
//
// Needs: nothing. Preserves: everything. Weakens: nothing; Info above it reports
// the stricter of its limits and the backend's. A limit above the backend's own
// is an error when the pipeline is built, because the backend cannot honour it.
package sizelimits
