// Package faults is the wrapper faults, which delays calls or makes them fail, by
// operation, prefix and rate, to test the layers above it. A configuration with
// it requires allow_faults: true.
//
// Needs: nothing. Preserves: acknowledged writes are applied, and no write that
// may have been applied is reported as failed: an applied fault has an unknown
// outcome. Weakens: everything else, on purpose.
package faults
