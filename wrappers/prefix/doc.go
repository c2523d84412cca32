// Package prefix is the wrapper prefix, which maps a store onto a prefix of a
// shared backend. It prepends the prefix to every key, keeps ranges within it,
// and removes it from results.
//
// Needs: nothing. Preserves: everything. Weakens: Info above it reports smaller
// limits: a key loses the bytes of one prefix, a write set those of two for each
// op that it may have.
package prefix
