// Package sizelimits is the wrapper size_limits: it refuses keys, values and
// write sets that are larger than configured, and keeps pages short, before any
// work is done.
//
// Needs: nothing. Preserves: everything. Weakens: nothing; its limits, where
// they are stricter, become those of Info above it. A limit above the backend's
// own is refused when the pipeline is built, for it would promise too much.
package sizelimits
