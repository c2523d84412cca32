// Package readonly is the wrapper read_only: it refuses every write before any
// work is done. A write set of checks alone writes nothing and passes.
//
// Needs: nothing. Preserves: everything that reads are promised. Weakens:
// nothing; what is below may still be written through other stores.
package readonly
