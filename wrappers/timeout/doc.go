// Package timeout is the wrapper timeout: it gives every call a deadline, where
// its caller's is not earlier.
//
// Needs: a backend that honours the end of a context, as every carrier does.
// Preserves: everything. Weakens: a write that is cut off after it was sent has
// an unknown outcome. Above retry it bounds all attempts together, below retry
// each of them.
package timeout
