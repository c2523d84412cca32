// Package faults is the wrapper faults: it makes calls slow or fail, by
// operation, prefix and rate, to see how what is above it stands that. A
// configuration with it needs allow_faults: true.
//
// Needs: nothing. Preserves: what is written is written, and no write is said to
// have failed that may have been applied: an applied fault is of unknown outcome.
// Weakens: everything else, on purpose.
package faults
