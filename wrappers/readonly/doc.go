// Package readonly is the wrapper read_only, which refuses every write before any
// work is done. A write set of checks alone writes nothing, and passes.
//
// Needs: nothing. Preserves: every guarantee of reads. Weakens: nothing; other
// stores may still write to the same backend.
package readonly
