// Package prefix is the wrapper prefix: a namespace in a backend that others use
// too. Every key gets the prefix below, ranges stay within it, and nothing above
// sees it.
//
// Needs: nothing. Preserves: everything. Weakens: keys and write sets may be as
// much smaller as the prefix takes, which Info above it says.
package prefix
